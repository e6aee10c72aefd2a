// The live page: questions to the server that serves it, and answers handed to the report's script.
"use strict";

(() => {
  const { token } = JSON.parse(document.getElementById("live-settings").textContent);
  const $ = (id) => document.getElementById(id);
  const STILL_PX = 4; // a pointer that moves farther drags, and asks nothing

  async function request(path, options = {}) {
    const headers = { "X-Esegeta-Token": token, ...options.headers };
    const response = await fetch(path, { ...options, headers });
    if (response.ok) return response;
    let message = `the server answered ${response.status}`;
    try {
      message = (await response.json()).message || message;
    } catch {
      // no JSON: the number says it
    }
    throw new Error(message);
  }

  const post = async (path, body) => {
    const headers = { "Content-Type": "application/json" };
    return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
  };

  window.esegetaLoader = {
    async volume(id) {
      return (await request(`volumes/${id}`)).arrayBuffer();
    },
  };

  // -- jobs ----------------------------------------------------------------------------------

  let current = null; // the job that is waited for

  function say(text, isFault = false) {
    $("ask-says").textContent = text;
    $("ask-says").classList.toggle("fault", isFault);
  }

  function progress(job) {
    const bar = $("ask-progress");
    $("ask-work").hidden = false;
    if (job.total) {
      bar.max = job.total;
      bar.value = Math.min(job.done, job.total);
    } else {
      bar.removeAttribute("value");
    }
    const of = job.total ? ` of about ${job.total}` : "";
    $("ask-count").textContent = job.state === "queued" ? "waiting ..." : `${job.done}${of} windows`;
  }

  // Follows a job to its end; returns its result, or null where it was cancelled.
  async function follow(job) {
    current = job.job;
    let state = job;
    while (state.state === "queued" || state.state === "running") {
      progress(state);
      state = await (await request(`api/jobs/${job.job}?after=${state.version}`)).json();
    }
    if (state.state === "failed") throw new Error(state.message);
    return state.state === "done" ? state.result : null;
  }

  async function cancel() {
    const job = current;
    if (job !== null) await post(`api/jobs/${job}/cancel`, {});
  }

  let turn = 0;

  // Does one thing at a time; what was being done is cancelled.
  async function during(words, start, show) {
    turn += 1;
    const mine = turn;
    document.body.dataset.work = "true";
    say(words);
    try {
      await cancel();
      const job = await start();
      const result = job.state === "done" ? job.result : await follow(job);
      if (mine !== turn) return;
      if (result === null) say("Cancelled.");
      else say(await show(result));
    } catch (error) {
      if (mine === turn) say(error.message, true);
    } finally {
      if (mine === turn) {
        current = null;
        $("ask-work").hidden = true;
        document.body.dataset.work = "false";
      }
    }
  }

  // -- questions -----------------------------------------------------------------------------

  function ask() {
    document.body.dataset.asked = "true";
    const question = {
      about: $("ask-about").value,
      label: $("ask-label").value,
      method: $("ask-method").value,
      place_mm: window.esegeta.viewer().position(),
    };
    const start = () => post("api/explain", question);
    return during("Explaining ...", start, async (entry) => {
      window.esegeta.addMap(entry);
      await window.esegeta.showMap(entry.id);
      $("ask-keep").disabled = false;
      return entry.about;
    });
  }

  function keep() {
    const answer = window.esegeta.state.map;
    const start = () => post("api/keep", { answer });
    return during("Writing ...", start, async (result) => `Kept: ${result.map}`);
  }

  // A click, not a drag: the cross-hair is there when the viewer has seen the pointer go up.
  function watch(box) {
    let down = null;
    box.addEventListener("pointerdown", (event) => {
      down = event.button === 0 && event.target.tagName === "CANVAS" ? [event.clientX, event.clientY] : null;
    }, true);
    box.addEventListener("pointerup", (event) => {
      if (!down || !$("ask-click").checked) return;
      const moved = Math.hypot(event.clientX - down[0], event.clientY - down[1]);
      down = null;
      if (moved <= STILL_PX) setTimeout(ask, 0);
    }, true);
  }

  function listen() {
    $("ask-now").addEventListener("click", ask);
    $("ask-keep").addEventListener("click", keep);
    $("ask-cancel").addEventListener("click", cancel);
    for (const id of ["ask-about", "ask-label", "ask-method"]) {
      $(id).addEventListener("change", () => $("ask-click").checked && document.body.dataset.asked && ask());
    }
    document.addEventListener("keydown", (event) => {
      const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
      if (event.key === "Escape") cancel();
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "e") ask();
    }, true);
    watch(document.querySelector(".views"));
    document.body.dataset.live = "true";
  }

  function whenReady() {
    if (!document.body.dataset.ready) return false;
    if (window.esegeta.viewer()) listen();
    else say("This browser shows no volumes (WebGL 2 is missing), so nothing can be clicked.", true);
    return true;
  }

  new MutationObserver((_, observer) => whenReady() && observer.disconnect()).observe(document.body, {
    attributes: true,
    attributeFilter: ["data-ready"],
  });
})();
