// Volumes come from a loader, an object with `volume(id)`: a promise of a gzipped NIfTI as an
// ArrayBuffer. A page that has another source sets `window.esegetaLoader` before.

function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes.buffer;
}

function ownLoader() {
  const waiting = new Map();
  window.esegetaVolume = (id, text) => {
    waiting.get(id)?.(bytesOf(text));
    waiting.delete(id);
  };
  return {
    volume(id) {
      const inside = $(`volume-${id}`);
      if (inside) return Promise.resolve(bytesOf(inside.textContent.trim()));
      return new Promise((resolve, reject) => {
        waiting.set(id, resolve);
        const script = document.createElement("script");
        script.src = `volumes/${id}.js`;
        script.onload = () => script.remove();
        script.onerror = () => reject(new Error(`volumes/${id}.js is missing`));
        document.head.append(script);
      });
    },
  };
}

const loader = window.esegetaLoader || ownLoader();
const kept = new Map(); // the last few volumes as they came, for going back and forth
async function volumeOf(id) {
  if (!kept.has(id)) {
    kept.set(id, loader.volume(id));
    if (kept.size > 12) kept.delete(kept.keys().next().value);
  }
  try {
    return await kept.get(id);
  } catch (error) {
    kept.delete(id);
    throw error;
  }
}
