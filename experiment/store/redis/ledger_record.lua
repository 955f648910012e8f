-- Counts one batch of events of one shard. Reads and checks everything, then writes: a script does not roll back.
--
-- KEYS  1 shard facts, 2 log, 3 dirty units, 4 days, 5 arrivals, then cells per plan, record bucket per unit, ids per event
-- ARGV  1 JSON {P plans, U units, N events, h history, newest day known, keep days, o ordinals,
--       g unit, damage of its id, ... where there is any, s identity of the store that is meant, if one is},
--       then P plans as JSON, U units, N id hashes, N events as JSON,
--       then one flat JSON array: per event its unit (1..U), at, kind (0 outcome, else the exposure's ordinal),
--       and for an outcome: its type, how many values, then slot, amount each;
--       for an exposure: epoch, segment, variant, 0 as served | 1 fallback | 2 mismatch, dimension values,
--       covariates.
--       Events lie unit by unit, ordered by time, exposures first.
-- Reply {one letter per event: s stored, d duplicate, l late; newest day} or {'', what has no room}
--       or {'?', identity of the store that this shard belongs to}

local head = cjson.decode(ARGV[1])
local P, U, N = head.P, head.U, head.N
local numbers = cjson.decode(ARGV[2 + P + U + N + N])
local UNIT_KEYS, ID_KEYS = 5 + P, 5 + P + U
local UNITS, IDS, EVENTS = 1 + P, 1 + P + U, 1 + P + U + N
local plans = lazy_plans(head.o, {unpack(ARGV, 2, 1 + P)}, 6)

-- No producer's clock moves the newest day by itself: a day ahead of the store's own says nothing.
local begun = redis.call('TIME')[1]
local today = floor(begun * 1000 / DAY)
local facts = redis.call('HMGET', KEYS[1], 'newest', 'store')
if head.s and head.s ~= (facts[2] or '') then return {'?', facts[2] or ''} end
local newest = tonumber(facts[1] or '0')
local function see(day)
  if day > newest and day <= today then newest = day end
end
see(head.newest)
local oldest = newest - head.keep
if head.h == 1 then oldest = 0 end

local status, accepted, refused, days, records, dirty = {}, {}, {}, {}, {}, {}
local no_room = nil

local damage, damaged = {}, {}
for i = 1, #head.g, 2 do damage[head.g[i]] = head.g[i + 1] end
local exposures, outcomes, nobodys = 0, {}, {}  -- what arrived; outcomes by type

-- notes an outcome among the unit's recent ones, and as one of nobody while the unit was never exposed
local function note_type(unit, kind, at)
  local t, hour = unit.types, floor(at / HOUR)
  local back, size = unit.hour - hour, #t
  if back < 0 then
    for i = 2, size, 3 do t[i + 1], t[i] = back == -1 and t[i] or 0, 0 end
    unit.hour, unit.emptied, back = hour, true, 0
  end
  local place = 1
  while place <= size and t[place] ~= kind do place = place + 3 end
  if place > size then t[place], t[place + 1], t[place + 2] = kind, 0, 0 end
  if back > 1 or kind == 0 then
    unit.emptied = true
  elseif t[place + 1 + back] < FULL then
    t[place + 1 + back] = t[place + 1 + back] + 1
  end
  if #unit.entries == 0 then
    if not unit.nobodys then unit.nobodys = {} end
    unit.nobodys[place] = (unit.nobodys[place] or 0) + 1
    nobodys[kind] = (nobodys[kind] or 0) + 1
  end
  outcomes[kind] = (outcomes[kind] or 0) + 1
end

-- outcomes that p reads in the hour of `at` and the one before, all of them before `at`; true where a count is full
local function recent(unit, p, at)
  local t, back, sum, full = unit.types, floor(at / HOUR) - unit.hour, 0, false
  if back > 1 then return 0, false end
  for i = 1, #t, 3 do
    if p.reads[t[i]] then
      local now, before = t[i + 1], back == 0 and t[i + 2] or 0
      sum = sum + now + before
      full = full or now == FULL or before == FULL
    end
  end
  return sum, full
end

-- adds an outcome to every standing whose window it hits; true where only a refold can tell
local function apply_outcome(unit, at, cursor)
  local kind, values, unsettled = numbers[cursor], numbers[cursor + 1], false
  for _, entry in ipairs(unit.entries) do
    local p = entry.p
    if not p then
      unsettled = true
    else
      local read, inside = false, false
      for i = cursor + 2, cursor + 2 * values, 2 do
        local total = p.slot[numbers[i]]
        if total then
          local e = open(entry)
          read, inside = true, e[7] <= at and at < e[7] + p.window
          if inside then
            local sum = e[total] + numbers[i + 1]
            if sum > LIMIT or sum < -LIMIT then no_room = 'total of a unit' end
            set(entry, total, sum)
          end
        end
      end
      if read and kind > 0 then
        local e = entry.e
        local variant = e[6]
        if inside then
          e[12] = e[12] + 1
          p.counted[variant] = (p.counted[variant] or 0) + 1
        elseif at < e[7] and floor(e[7] / HOUR) - floor(at / HOUR) < 2 then
          e[11] = e[11] + 1
          p.early[variant] = (p.early[variant] or 0) + 1
        end
      end
    end
  end
  note_type(unit, kind, at)
  if at > unit.latest then unit.latest = at end
  return unsettled
end

-- fixes or confirms a first exposure; true where it comes too late to be settled here
local function apply_exposure(unit, p, at, cursor)
  local epoch, variant, served = numbers[cursor], numbers[cursor + 2], numbers[cursor + 3]
  local entry = entry_of(unit, p.ordinal)
  local fallback, mismatch = served == 1 and 1 or 0, served == 2 and 1 or 0
  if not entry then
    local early, full = recent(unit, p, at)
    local e = {p.ordinal, 0, 0, epoch, numbers[cursor + 1], variant, at, 1, fallback, mismatch, early, 0}
    for i = 1, p.values do e[FIXED + i] = numbers[cursor + 3 + i] end
    for i = p.base + 1, p.totals do e[i] = 0 end
    for i = 1, p.covariates do e[p.totals + i] = numbers[cursor + 3 + p.values + i] end
    if unit.nobodys then
      for i, count in pairs(unit.nobodys) do
        local kind = unit.types[i]
        nobodys[kind] = (nobodys[kind] or 0) - count
      end
      unit.nobodys, unit.emptied = false, true
    end
    p.early[variant] = (p.early[variant] or 0) + early
    new_entry(unit, p, e)
    return full or at <= unit.latest
  end
  local e = open(entry)
  if at <= e[7] then return true end
  set(entry, 8, e[8] + 1)
  if fallback > 0 then set(entry, 9, e[9] + 1) end
  if mismatch > 0 then set(entry, 10, e[10] + 1) end
  if epoch == e[4] and variant ~= e[6] and e[3] % 2 == 0 then set(entry, 3, e[3] + 1) end
  if epoch > e[4] and e[3] < 2 then set(entry, 3, e[3] + 2) end
  return false
end

local unit, current, unsettled = nil, 0, false

local function close_unit()
  if not unit then return end
  for _, entry in ipairs(unit.entries) do
    if entry.e then settle(entry.p, entry.old, entry.e) end
  end
  records[current] = pack_unit(unit)
  if unsettled then dirty[#dirty + 1] = ARGV[UNITS + current] end
  unit, unsettled = nil, false
end

local function open_unit(index)
  close_unit()
  current = index
  unit = read_unit(redis.call('HGET', KEYS[UNIT_KEYS + index], ARGV[UNITS + index]), plans)
  -- two seconds early: the log's ids use the time at which the script began
  if unit.since == 0 then unit.since = begun - 2 end
end

local cursor = 1
for i = 1, N do
  local index, at, kind = numbers[cursor], numbers[cursor + 1], numbers[cursor + 2]
  local p = kind > 0 and plans[kind] or nil
  local day = floor(at / DAY)
  if day < oldest then
    status[i] = 'l'
    refused[#refused + 1] = ARGV[EVENTS + i]
  elseif redis.call('SISMEMBER', KEYS[ID_KEYS + i], ARGV[IDS + i]) == 1 then
    status[i] = 'd'
  else
    status[i] = 's'
    accepted[#accepted + 1] = i
    if head.h == 0 then
      days[day] = true
      see(day)
    end
    if not unit or index ~= current then open_unit(index) end
    unit.events = unit.events + 1
    local open_question
    if p then
      open_question = apply_exposure(unit, p, at, cursor + 3)
      exposures = exposures + 1
    else
      open_question = apply_outcome(unit, at, cursor + 3)
    end
    unsettled = unsettled or open_question
    local wrong = damage[index]
    if wrong then damaged[wrong] = (damaged[wrong] or 0) + 1 end
  end
  cursor = cursor + (p and 7 + p.values + p.covariates or 5 + 2 * numbers[cursor + 4])
end
close_unit()
if no_room then return {'', no_room} end
local cells, full = merge_cells(plans)
if not cells then return {'', full} end
local arrivals = {x = exposures}
for kind, count in pairs(outcomes) do arrivals['t:' .. kind] = count end
for kind, count in pairs(nobodys) do arrivals['u:' .. kind] = count end
for wrong, count in pairs(damaged) do arrivals['d:' .. wrong] = count end
local counts = merge_arrivals(KEYS[5], plans, arrivals)

-- a key of a wrong type must fail here and not between two writes
redis.call('XLEN', KEYS[2])
redis.call('SCARD', KEYS[3])
redis.call('SCARD', KEYS[4])

-- from here on nothing can fail half-way: types and bounds are checked, and memory is refused at the first write
local entry = {}
for i, event in ipairs(accepted) do
  redis.call('SADD', KEYS[ID_KEYS + event], ARGV[IDS + event])
  entry[i] = ARGV[EVENTS + event]
end
for index, bytes in pairs(records) do redis.call('HSET', KEYS[UNIT_KEYS + index], ARGV[UNITS + index], bytes) end
write_cells(cells)
write_arrivals(counts)
if #dirty > 0 then redis.call('SADD', KEYS[3], unpack(dirty)) end
for day in pairs(days) do redis.call('SADD', KEYS[4], day) end
if next(days) then redis.call('HSET', KEYS[1], 'newest', newest) end
local fields = {}
if #accepted > 0 then fields[1], fields[2] = 'e', '[' .. table.concat(entry, ',') .. ']' end
if #refused > 0 then
  redis.call('HINCRBY', KEYS[1], 'late', #refused)
  fields[#fields + 1], fields[#fields + 2] = 'l', '[' .. table.concat(refused, ',') .. ']'
end
if #fields > 0 then redis.call('XADD', KEYS[2], '*', unpack(fields)) end
return {table.concat(status), tostring(newest)}
