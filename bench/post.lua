-- wrk's script: posts files in turn, and prints what happened as one line of JSON.
-- Arguments: a file that lists bodies (path, tab, content type, one a line), and paths to be asked
-- in turn, if several.

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function init(arguments)
  wrk.method = "POST"
  local bodies, types = {}, {}
  for path, kind in read(arguments[1]):gmatch("([^\t]+)\t([^\n]+)\n") do
    bodies[#bodies + 1], types[#types + 1] = read(path), kind
  end
  requests, place = {}, 0  -- their text is made once
  for number = 1, math.max(#bodies, #arguments - 1) do
    local one = (number - 1) % #bodies + 1
    wrk.headers["Content-Type"] = types[one]
    local path = #arguments > 1 and arguments[(number - 1) % (#arguments - 1) + 2] or nil
    requests[number] = wrk.format(nil, path, nil, bodies[one])
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
