// Places of a map: from voxels to millimetres and back, the strongest one, connected parts.

const MOST_COMPONENTS = 40;

function mmOf(image, index) {
  const [, nx, ny] = image.hdr.dims;
  const voxel = [index % nx, Math.floor(index / nx) % ny, Math.floor(index / (nx * ny)), 1];
  return [0, 1, 2].map((row) =>
    image.hdr.affine[row].reduce((sum, value, axis) => sum + value * voxel[axis], 0)
  );
}

function valueAt(image, mm) {
  const { affine, dims, scl_slope: slope, scl_inter: inter } = image.hdr;
  const inverse = inverseOf(affine);
  const voxel = [0, 1, 2].map((row) =>
    Math.round(inverse[row].reduce((sum, v, axis) => sum + v * [...mm, 1][axis], 0))
  );
  if (voxel.some((at, axis) => at < 0 || at >= dims[axis + 1])) return null;
  return (image.values ?? image.img)[voxel[0] + dims[1] * (voxel[1] + dims[2] * voxel[2])] * slope + inter;
}

function inverseOf(m) {
  const [a, b, c] = [m[0], m[1], m[2]];
  const det =
    a[0] * (b[1] * c[2] - b[2] * c[1]) -
    a[1] * (b[0] * c[2] - b[2] * c[0]) +
    a[2] * (b[0] * c[1] - b[1] * c[0]);
  const r = [
    [b[1] * c[2] - b[2] * c[1], a[2] * c[1] - a[1] * c[2], a[1] * b[2] - a[2] * b[1]],
    [b[2] * c[0] - b[0] * c[2], a[0] * c[2] - a[2] * c[0], a[2] * b[0] - a[0] * b[2]],
    [b[0] * c[1] - b[1] * c[0], a[1] * c[0] - a[0] * c[1], a[0] * b[1] - a[1] * b[0]],
  ].map((row) => row.map((value) => value / det));
  const move = [a[3], b[3], c[3]];
  return r.map((row) => [...row, -row.reduce((sum, value, axis) => sum + value * move[axis], 0)]);
}

function strongestOf(image) {
  let best = 0;
  for (let i = 1; i < image.img.length; i += 1) {
    if (Math.abs(image.img[i]) > Math.abs(image.img[best])) best = i;
  }
  return best;
}

// The strongest voxel of each connected part (faces) at or above a magnitude, the strongest first.
function componentsOf(image, low) {
  const [, nx, ny, nz] = image.hdr.dims;
  const values = image.img;
  const least = Math.max(low / (image.hdr.scl_slope || 1), 1);
  const seen = new Uint8Array(values.length);
  const found = [];
  const stack = [];
  for (let start = 0; start < values.length; start += 1) {
    if (seen[start] || Math.abs(values[start]) < least) continue;
    let peak = start;
    const sign = Math.sign(values[start]);
    seen[start] = 1;
    stack.push(start);
    while (stack.length) {
      const at = stack.pop();
      if (Math.abs(values[at]) > Math.abs(values[peak])) peak = at;
      const x = at % nx;
      const y = Math.floor(at / nx) % ny;
      const z = Math.floor(at / (nx * ny));
      const next = [
        x > 0 && at - 1, x < nx - 1 && at + 1, y > 0 && at - nx, y < ny - 1 && at + nx,
        z > 0 && at - nx * ny, z < nz - 1 && at + nx * ny,
      ];
      for (const other of next) {
        if (other === false || seen[other] || values[other] * sign < least) continue;
        seen[other] = 1;
        stack.push(other);
      }
    }
    found.push(peak);
  }
  found.sort((one, other) => Math.abs(values[other]) - Math.abs(values[one]));
  return found.slice(0, MOST_COMPONENTS);
}
