-- wrk's side of bench/gateway: a chat completion of about 1.8 KB whose text never
-- was before, and the result as one line of JSON. The same shape of text as
-- standin-load makes.

local system = "You are a support assistant of a utility company. Answer in the customer's language, "
  .. "in at most five sentences. Never promise a refund. If the customer asks about an outage, give the number of "
  .. "the hotline. If you do not know, say so and open a ticket."
local words = {}
for word in ("the meter reading of last month was not sent because I moved to another flat in spring and your letter "
  .. "says that my contract ends soon please explain invoice again with details"):gmatch("%S+") do
  words[#words + 1] = word
end
local head = '{"model":"gpt-4o-mini","messages":[{"role":"system","content":"' .. system
  .. '"},{"role":"user","content":"Ticket '
local tail = '"}],"temperature":0.2,"stream":false}'
-- Sentences to put together anew: 64 of them in 14 places make more texts than
-- anybody sends, and the ticket's number makes each the only one.
local SENTENCES, PLACES = 64, 14
local sentences = {}

local threads = 0
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local count = 0
function init()
  math.randomseed(os.time() * 64 + number)
  for index = 1, SENTENCES do
    local some = {}
    for place = 1, 16 do
      some[place] = words[math.random(#words)]
    end
    sentences[index] = table.concat(some, " ") .. ". "
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "Bearer sk-standin"
  started = string.format("%x-%d", os.time(), number)
end

local text = {}
function request()
  count = count + 1
  text[1] = head
  text[2] = started
  text[3] = "-" .. count .. ". "
  -- One in eight names somebody, about as a support desk sees it.
  text[4] = ""
  if count % 8 == 0 then
    local digits = math.random(1000, 9999)
    text[4] = "Write to anna." .. digits .. "@nordwind-bank.de or call +1 650 253 " .. digits .. ". "
  end
  for place = 1, PLACES do
    text[4 + place] = sentences[math.random(SENTENCES)]
  end
  text[5 + PLACES] = tail
  return wrk.format(nil, nil, nil, table.concat(text))
end

function done(summary, latency, requests)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.status + summary.errors.timeout
  local seconds = summary.duration / 1e6
  io.write(string.format(
    '{"requests":%d,"errors":%d,"seconds":%.3f,"requests_per_second":%.1f,"total_ms":{"p50":%.3f,"p99":%.3f}}\n',
    summary.requests, errors, seconds, summary.requests / seconds,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
