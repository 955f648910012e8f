-- Replaces the records of dirty units by what the reference fold made of the log, and moves the cells along.
--
-- KEYS  1 dirty units, 2 arrivals, then cells per plan, record bucket per unit
-- ARGV  1 JSON {P plans, U units, o ordinals}, then P plans as JSON, U units,
--       then one flat JSON array: per unit the accepted events folded, latest outcome, number of standings,
--       and per standing its numbers 1..width of ledger.lua.
-- A unit whose accepted events are not as many as were folded got new ones meanwhile: it stays dirty.
-- Reply {one letter per unit: s settled, w wait} or {'', the cell whose sums have no room}

local head = cjson.decode(ARGV[1])
local P, U = head.P, head.U
local numbers = cjson.decode(ARGV[2 + P + U])
local UNIT_KEYS, UNITS = 2 + P, 1 + P
local plans = lazy_plans(head.o, {unpack(ARGV, 2, 1 + P)}, 3)

local function complete(unit)
  for _, entry in ipairs(unit.entries) do
    if not entry.p then return false end
  end
  return true
end

-- the folded standings of one unit by ordinal, and where the next unit starts
local function read_standings(cursor, count)
  local found = {}
  for _ = 1, count do
    local p = plans[numbers[cursor]]
    found[p.ordinal] = {unpack(numbers, cursor, cursor + p.width - 1)}
    cursor = cursor + p.width
  end
  return found, cursor
end

-- adds a standing's early and counted outcomes to those of its variant, or takes them away
local function tally(p, e, sign)
  p.early[e[6]] = (p.early[e[6]] or 0) + sign * e[11]
  p.counted[e[6]] = (p.counted[e[6]] or 0) + sign * e[12]
end

local function replace(unit, found)
  for _, entry in ipairs(unit.entries) do
    local e = found[entry.ordinal]
    if not e then error('no exposure of a unit to experiment ' .. entry.ordinal .. ' in the log') end
    entry.old, entry.e = open(entry), e
    tally(entry.p, entry.old, -1)
    tally(entry.p, e, 1)
    settle(entry.p, entry.old, e)
  end
  for ordinal, e in pairs(found) do
    if not entry_of(unit, ordinal) then
      new_entry(unit, plans[ordinal], e)
      tally(plans[ordinal], e, 1)
      settle(plans[ordinal], plans[ordinal].zero, e)
    end
  end
end

local status, records, cursor = {}, {}, 1
for i = 1, U do
  local events, latest, count = numbers[cursor], numbers[cursor + 1], numbers[cursor + 2]
  local found
  found, cursor = read_standings(cursor + 3, count)
  local unit = read_unit(redis.call('HGET', KEYS[UNIT_KEYS + i], ARGV[UNITS + i]), plans)
  if unit.events == events and complete(unit) then
    status[i] = 's'
    unit.latest = latest
    replace(unit, found)
    records[i] = pack_unit(unit)
  else
    status[i] = 'w'
  end
end
local cells, full = merge_cells(plans)
if not cells then return {'', full} end
local counts = merge_arrivals(KEYS[2], plans, {})

for i, bytes in pairs(records) do
  redis.call('HSET', KEYS[UNIT_KEYS + i], ARGV[UNITS + i], bytes)
  redis.call('SREM', KEYS[1], ARGV[UNITS + i])
end
write_cells(cells)
write_arrivals(counts)
return {table.concat(status)}
