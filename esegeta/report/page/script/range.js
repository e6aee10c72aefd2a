// The range of the colours, and its sliders.

const DUST_STEPS = 200; // of the threshold's slider

// What sets the range of a map, or walks through it, is of no use where there is none.
const OF_A_MAP = ["low", "high", "opacity", "fade", "reset", "strongest", "component"];

function showRange() {
  const layer = layerOf(current());
  $("scale").hidden = !layer;
  for (const id of OF_A_MAP) $(id).disabled = !layer || layer.peak === 0;
  if (!layer) {
    for (const id of ["low-text", "high-text", "component-text"]) $(id).textContent = "";
    return;
  }
  const { low, high } = rangeOf(layer);
  $("low-text").textContent = number(low);
  $("high-text").textContent = number(high);
  $("opacity-text").textContent = `${Math.round(100 * state.opacity)} %`;
  $("scale-below").textContent = layer.signed ? `−${number(high)}` : "0";
  $("scale-zero").textContent = layer.signed ? "0" : "";
  $("scale-above").textContent = `+${number(high)}`;
  $("scale").classList.toggle("unsigned", !layer.signed);
  $("unit").textContent = layer.unit;
  $("low-name").textContent = state.fade ? "Fades below" : "Hidden below";
  ramp($("ramp-above"), "to right", COLOURS.esegeta_above, low / high);
  ramp($("ramp-below"), "to left", COLOURS.esegeta_below, low / high);
  $("low").value = Math.round((DUST_STEPS * low) / high);
  $("high").value = Math.round(sliderOf(layer, high));
  Object.assign(document.body.dataset, { low: String(low), high: String(high) });
}

// The upper end moves in equal factors, from a fiftieth of the first end to the peak.
const endsOf = (layer) => [Math.log(layer.high / 50), Math.log(Math.max(layer.peak, layer.high * 2))];
function sliderOf(layer, high) {
  const [start, stop] = endsOf(layer);
  return (1000 * (Math.log(high) - start)) / (stop - start);
}
function highOf(layer, slider) {
  const [start, stop] = endsOf(layer);
  return Math.exp(start + ((stop - start) * slider) / 1000);
}
