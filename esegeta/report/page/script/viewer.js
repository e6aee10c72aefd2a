// One canvas: scan, map and outlines, by NiiVue.

class Viewer {
  constructor(box) {
    this.box = box;
    this.canvas = box.querySelector("canvas");
    this.shown = {};
    this.onMove = () => {};
  }

  async start() {
    this.nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.95, 0.9, 0.35, 0.45],
      crosshairWidthUnit: "mm",
      crosshairGap: 12,
      fontColor: [0.9, 0.9, 0.9, 1],
      fontMinPx: 12,
      fontSizeScaling: 0.3,
      loadingText: "",
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      isColorbar: false,
      multiplanarEqualSize: false,
      tileMargin: 2,
      logLevel: "error",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      viewModeHotKey: "",
      textHeight: -1,
    });
    this.nv.onLocationChange = (place) => this.onMove(place);
    await this.nv.attachToCanvas(this.canvas);
    for (const [name, nodes] of Object.entries(COLOURS)) {
      this.nv.addColormap(name, { ...nodes, ...NODES });
    }
    this.nv.setSliceMM(true);
    this.nv.setInterpolation(true); // nearest: voxels as they are, and no colours of dust beside them
    this.canvas.addEventListener("keydown", (event) => this.key(event), true);
  }

  key(event) {
    const steps = {
      ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0],
      PageUp: [0, 0, 1], PageDown: [0, 0, -1],
    };
    const step = steps[event.key];
    event.stopImmediatePropagation(); // NiiVue's own keys change views that nothing here names
    if (!step) return;
    event.preventDefault();
    // Along the patient's axes, whichever way voxels are counted.
    this.nv.moveCrosshairInVox(...step);
    this.nv.createOnLocationChange();
  }

  async image(id) {
    const buffer = await volumeOf(id);
    return niivue.NVImage.loadFromUrl({ url: `${id}.nii.gz`, name: `${id}.nii.gz`, buffer });
  }

  // Shows what is asked for; what is there already stays.
  async show(entry, layer, scanNumber) {
    const one = cases.get(entry.case);
    const scan = one.scans[Math.min(scanNumber, one.scans.length - 1)];
    const key = { scan: scan.volume, map: layer ? layer.volume : "", labels: entry.outline || one.segmentation };
    const first = this.shown.scan === undefined;
    const place = first || this.shown.case !== entry.case ? null : this.position();
    const [back, map, labels] = await Promise.all(
      ["scan", "map", "labels"].map((part) =>
        !key[part] ? null : this.shown[part] === key[part] ? this[part] : this.image(key[part])
      )
    );
    if (this.wanted !== undefined && this.wanted !== entry.id + key.map) return false;
    Object.assign(this, { scan: back, map, labels });
    if (!scan.is_colour) Object.assign(back, { cal_min: scan.low, cal_max: scan.high });
    if (labels) this.colour(labels, one.labels, entry.label);
    this.shown = { ...key, case: entry.case, entry, layer };
    const nv = this.nv;
    nv.volumes = [back, map, labels].filter(Boolean);
    nv.back = back;
    nv.overlays = nv.volumes.slice(1);
    nv.customLayout = this.layout(one.flat);
    nv.opts.isOrientationTextVisible = one.has_sides;
    nv.opts.atlasOutline = OUTLINE;
    this.layerRange();
    this.thicken();
    if (place) this.go(place);
    return true;
  }

  colour(image, all, target) {
    const isShown = (value) => outlineOf() === "all" || value === target;
    const labels = all.filter((label) => isShown(label.value));
    image.values ??= image.img; // for the value at the cross-hair: all labels
    image.img = image.values.map((value) => (isShown(value) ? value : 0));
    const cm = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const label of labels) {
      const colour = label.value === target ? TARGET_COLOUR : label.colour;
      cm.R.push(parseInt(colour.slice(1, 3), 16));
      cm.G.push(parseInt(colour.slice(3, 5), 16));
      cm.B.push(parseInt(colour.slice(5, 7), 16));
      cm.A.push(255);
      cm.I.push(label.value);
      cm.labels.push(label.name);
    }
    image.setColormapLabel(cm);
  }

  // Sets range, opacity and outline from the sliders.
  layerRange() {
    const layer = this.shown.layer;
    if (this.map && layer) {
      const { low, high } = rangeOf(layer);
      Object.assign(this.map, {
        colormap: "esegeta_above",
        colormapNegative: layer.signed ? "esegeta_below" : "",
        colormapType: state.fade ? FADES : HIDES,
        cal_min: low,
        cal_max: high,
        cal_minNeg: -low,
        cal_maxNeg: -high,
        opacity: state.opacity,
      });
    }
    const outlined = outlineOf() !== "none";
    if (this.labels) this.labels.opacity = outlined ? 0.001 : 0;
    this.nv.opts.atlasOutline = outlined ? OUTLINE : 0;
    this.nv.opts.isRadiologicalConvention =
      state.radiological || !cases.get(this.shown.case).has_sides;
    const before = [this.nv.volumeTexture, this.nv.overlayTexture];
    this.nv.updateGLVolume(); // takes new textures, and leaves the old ones where they are
    for (const texture of before) {
      if (texture && texture !== this.nv.volumeTexture && texture !== this.nv.overlayTexture) {
        this.nv.gl.deleteTexture(texture);
      }
    }
  }

  // Axial large, for that is how scans are read; the others beside it, or below it.
  layout(isFlat) {
    const [axial, coronal, sagittal] = [0, 1, 2];
    const tile = (sliceType, ...position) => ({ sliceType, position });
    if (isFlat) return [tile(axial, 0, 0, 1, 1)];
    const { width, height } = this.canvas.getBoundingClientRect();
    if (width > 1.15 * height) {
      return [tile(axial, 0, 0, 0.6, 1), tile(coronal, 0.605, 0, 0.395, 0.5), tile(sagittal, 0.605, 0.5, 0.395, 0.5)];
    }
    return [tile(axial, 0, 0, 1, 0.58), tile(coronal, 0, 0.585, 0.5, 0.415), tile(sagittal, 0.5, 0.585, 0.5, 0.415)];
  }

  resize() {
    if (this.shown.case === undefined) return;
    this.nv.resizeListener();
    this.nv.customLayout = this.layout(cases.get(this.shown.case).flat);
    this.thicken();
    this.nv.drawScene();
  }

  // Cross-hairs no thinner than a pixel in any panel: else they fall between two, and are not seen.
  thicken() {
    const { nv } = this;
    const { width, height } = this.canvas.getBoundingClientRect();
    const [x, y, z] = nv.sceneExtentsMinMax(true)[2];
    const sizes = [[x, y], [x, z], [y, z]];
    const scales = nv.customLayout.map(({ sliceType, position: [, , wide, high] }) => {
      const [across, up] = sizes[sliceType];
      return Math.min((wide * width) / across, (high * height) / up);
    });
    const width_mm = 1.1 / Math.min(...scales);
    if (width_mm !== nv.opts.crosshairWidth) nv.setCrosshairWidth(width_mm);
  }

  position() {
    return Array.from(this.nv.frac2mm(this.nv.scene.crosshairPos, 0, true)).slice(0, 3);
  }

  go(mm) {
    this.nv.scene.crosshairPos = this.nv.mm2frac(mm, 0, true);
    this.nv.drawScene();
    this.nv.createOnLocationChange();
  }
}
