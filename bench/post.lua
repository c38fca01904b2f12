-- wrk's script: posts one file again and again, and prints what happened as one line of JSON.
-- Arguments: the file with the body, its content type, and paths to be asked in turn, if several.

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  wrk.headers["Content-Type"] = arguments[2]
  file:close()
  requests, place = {}, 0  -- their text is made once
  for number = 3, math.max(3, #arguments) do
    requests[number - 2] = wrk.format(nil, arguments[number])
  end
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %.1f, "p99": %.1f, "refused": %d, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, failed))
end
