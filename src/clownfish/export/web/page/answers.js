// From probabilities and embedding to "ok", "unsure" or "unlike anything seen": the rules of clownfish's answers/, with
// the numbers that the model brings.

const SMALLEST_PROBABILITY = 1e-12;

/** Decide on one photo. Returns {order, status, candidates}; classes are numbers, most probable first. */
export function decide(probabilities, embedding, rules) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a] || a - b);
  if (!rules) return { order, status: "ok", candidates: [order[0]] };
  const candidates = order.filter(
    (number, rank) => rank === 0 || probabilities[number] >= rules.set_thresholds[number],
  );
  const isUnsure = rules.threshold === null || probabilities[order[0]] < Math.fround(rules.threshold);
  const isUnlike =
    rules.novelty && embedding && rules.novelty.threshold !== null
      ? measureNovelty(probabilities[order[0]], embedding, rules.novelty) > rules.novelty.threshold
      : false;
  return { order, status: isUnlike ? "unlike anything seen" : isUnsure ? "unsure" : "ok", candidates };
}

/** How surprising a photo is, given those the model knows; three surprises in one number. */
function measureNovelty(largest, embedding, rule) {
  const near = -Math.log(Math.max(largest, SMALLEST_PROBABILITY));
  const numAxes = embedding.length - 1;
  let closest = Infinity;
  for (const mean of rule.class_means) {
    let sum = 0;
    for (let axis = 0; axis < numAxes; axis += 1) sum += (embedding[axis] - mean[axis]) ** 2;
    closest = Math.min(closest, sum);
  }
  const others = lookUp(rule.distance, Math.sqrt(closest)) + lookUp(rule.norm, embedding[numAxes]);
  return rule.near_weight * lookUp(rule.near, near) + ((1 - rule.near_weight) * others) / 2;
}

/** Between two knots a straight line, beyond the last one a slope. */
function lookUp({ scores, surprises, slope }, score) {
  const last = scores.length - 1;
  if (score >= scores[last]) return surprises[last] + (score - scores[last]) * slope;
  if (score <= scores[0]) return surprises[0];
  let [low, high] = [0, last];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (scores[middle] <= score) low = middle;
    else high = middle;
  }
  return (
    surprises[low] + ((surprises[high] - surprises[low]) * (score - scores[low])) / (scores[high] - scores[low])
  );
}
