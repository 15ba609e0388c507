-- The requests that wrk sends, and its results: one line of JSON. Arguments: the path, the number of users, keep or close.
-- With users, the path is a format for a number, and the pages of all users are requested in turn, in a random order.

local pages = {}

function init(arguments)
   local path, users, connection = arguments[1], tonumber(arguments[2]), arguments[3]
   -- As browsers send it.
   wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
   if connection == "close" then
      wrk.headers["Connection"] = "close"
   end
   for number = 1, math.max(users, 1) do
      pages[number] = wrk.format("GET", users > 0 and path:format(number - 1) or path)
   end
   math.randomseed(1)
   for number = #pages, 2, -1 do
      local other = math.random(number)
      pages[number], pages[other] = pages[other], pages[number]
   end
end

local last = 0

function request()
   last = last % #pages + 1
   return pages[last]
end

function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format(
      '\n{"requests": %d, "seconds": %f, "failed": %d, "p50_ms": %f, "p90_ms": %f, "p99_ms": %f, "max_ms": %f}\n',
      summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
      latency:percentile(99) / 1e3, latency.max / 1e3))
end
