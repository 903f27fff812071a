-- wrk's results as one line of JSON, instead of text to be picked apart.
done = function(summary, latency, requests)
  io.write(string.format(
    '@json {"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "refused": %d, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
