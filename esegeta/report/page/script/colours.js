// Colours of maps and outlines, and the scale that is painted with them.

// Colours without a white middle, so that they hold on bright tissue. NiiVue takes from alpha
// only whether a value is seen at all; how much it is, follows from `colormapType`.
const COLOURS = {
  esegeta_above: { R: [215, 225, 240, 255], G: [30, 35, 55, 150], B: [35, 30, 30, 60] },
  esegeta_below: { R: [25, 30, 45, 110], G: [95, 105, 125, 205], B: [225, 240, 255, 255] },
};
const NODES = { A: [0, 255, 255, 255], I: [0, 48, 128, 255] };
const FADES = 1; // opacity is (value / threshold)^2 below the threshold
const HIDES = 2;
const OUTLINE = 0.8; // opacity of outlines, which are a voxel wide and cover the map
const FADED_TO = 0.5; // of the colours' end: from here on values are opaque at first
const TARGET_COLOUR = "#ffffff";

// Paints a half of the scale as the map is painted.
function ramp(element, direction, colours, threshold) {
  const stops = [];
  for (let step = 0; step <= 20; step += 1) {
    const at = step / 20;
    const right = NODES.I.findIndex((node) => node >= 255 * at);
    const [a, b] = [Math.max(right - 1, 0), right];
    const part = a === b ? 0 : (255 * at - NODES.I[a]) / (NODES.I[b] - NODES.I[a]);
    const rgb = ["R", "G", "B"].map((name) => colours[name][a] + part * (colours[name][b] - colours[name][a]));
    const seen = at >= threshold ? 1 : state.fade ? (at / threshold) ** 2 : 0;
    stops.push(`rgb(${rgb.map(Math.round).join(" ")} / ${(seen * state.opacity).toFixed(3)})`);
  }
  element.style.background = `linear-gradient(${direction}, ${stops.join(", ")})`;
}
