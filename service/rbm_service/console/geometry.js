// Points in the plane: fitting them into a box, and finding one from another.

/** A function from coordinates of the points to a box, with the same scale both ways. */
export function fitted(xs, ys, width, height, margin) {
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const [across, down] = [
    (width - 2 * margin) / (right - left || 1),
    (height - 2 * margin) / (bottom - top || 1),
  ];
  const scale = Math.min(across, down);
  const [shiftX, shiftY] = [(width - scale * (right - left)) / 2, (height - scale * (bottom - top)) / 2];
  return (x, y) => [shiftX + scale * (x - left), shiftY + scale * (bottom - y)];
}

/** The index of the point closest to a place, within a distance; -1 where there is none. */
export function nearest(points, [x, y], within = Infinity) {
  return least(points, ([pointX, pointY]) => Math.hypot(pointX - x, pointY - y), within);
}

/** The index of the closest point in a direction, what lies aside counting twice; else the same one. */
export function towards(points, from, [stepX, stepY]) {
  const [x, y] = points[from];
  const found = least(points, ([pointX, pointY]) => {
    const along = stepX * (pointX - x) + stepY * (pointY - y);
    const aside = Math.abs(stepY * (pointX - x) - stepX * (pointY - y));
    return along > 0 && aside <= along ? along + 2 * aside : Infinity;
  });
  return found === -1 ? from : found;
}

function least(points, distance, within = Infinity) {
  let [best, found] = [within, -1];
  points.forEach((point, index) => {
    const far = distance(point);
    if (far < best) [best, found] = [far, index];
  });
  return found;
}
