// Rates and quantiles from counters that only grow: what happened between two answers of /stats.

/** The share `q` of durations lies below this; linear within a bucket, null where nothing was counted. */
export function quantile(bounds, counts, q) {
  const total = counts.reduce((sum, each) => sum + each, 0);
  if (total === 0) return null;
  let left = q * total;
  const bucket = counts.findIndex((each) => (left -= each) <= 0);
  const lower = bucket > 0 ? bounds[bucket - 1] : 0;
  if (bucket >= bounds.length) return lower; // beyond the last bound nothing is known
  return lower + ((left + counts[bucket]) / counts[bucket]) * (bounds[bucket] - lower);
}

/** One reading: the counters of the service, and of one of its models, at a time in seconds. */
export function reading(time, stats, model) {
  const requests = Object.entries(stats.requests);
  return {
    time,
    uptime: stats.uptime_seconds,
    version: model.version,
    bounds: stats.latency.bounds_seconds,
    counts: stats.latency.counts,
    requests: sum(requests),
    errors: sum(requests.filter(([status]) => !status.startsWith("2"))),
    rows: model.rows,
    queued: model.queued_rows,
  };
}

/** Whether a later reading goes on from an earlier one; after a restart the counters begin anew. */
export function follows(earlier, later) {
  const counters = ({ uptime, requests, rows, counts }) => [uptime, requests, rows, ...counts];
  const after = counters(later);
  return (
    earlier.version === later.version && counters(earlier).every((before, index) => before <= after[index])
  );
}

/** What happened from one reading to a later one. */
export function between(earlier, later) {
  const seconds = later.time - earlier.time;
  const counts = later.counts.map((each, bucket) => each - earlier.counts[bucket]);
  return {
    time: later.time,
    requests: (later.requests - earlier.requests) / seconds,
    rows: (later.rows - earlier.rows) / seconds,
    errors: (later.errors - earlier.errors) / seconds,
    p50: quantile(later.bounds, counts, 0.5),
    p99: quantile(later.bounds, counts, 0.99),
    queued: later.queued,
  };
}

const sum = (entries) => entries.reduce((total, [, value]) => total + value, 0);
