-- The record of a unit, and the counts of what arrived; appended to ledger.lua.

-- Outcomes of the unit by type, in unit.types: three numbers each, the type, how many in the hour of the latest
-- outcome and in the hour before (up to FULL). While the unit was never exposed, unit.nobodys has all of them by
-- type. Returns where the entries start.
local function read_types(unit, raw, k)
  if k < 128 then
    local entries = HEAD_SIZE + 1 + 3 * k
    unit.types = {string.byte(raw, HEAD_SIZE + 1, entries - 1)}
    return entries
  end
  local t, nobodys, at = {}, {}, HEAD_SIZE + 1
  for i = 1, 3 * (k - 128), 3 do
    t[i], t[i + 1], t[i + 2], nobodys[i], at = unpack_bytes('<BBBI4', raw, at)
  end
  unit.types, unit.nobodys = t, nobodys
  return at
end

local function pack_types(unit)
  local t = unit.types
  if #unit.entries == 0 then
    local parts = {}
    for i = 1, #t, 3 do
      parts[#parts + 1] = pack_bytes('<BBBI4', t[i], t[i + 1], t[i + 2], unit.nobodys[i])
    end
    return 128 + #parts, table.concat(parts)
  end
  if unit.emptied then
    local kept = {}
    for i = 1, #t, 3 do
      if t[i + 1] > 0 or t[i + 2] > 0 then
        local k = #kept
        kept[k + 1], kept[k + 2], kept[k + 3] = t[i], t[i + 1], t[i + 2]
      end
    end
    t = kept
  end
  return #t / 3, string.char(unpack(t))
end

-- entries of experiments outside the plan keep their bytes: entry.p is nil
local function read_unit(raw, plans)
  -- every field at once: a table that grows costs more than the rest of this function
  local unit = {
    entries = {}, types = false, nobodys = false, emptied = false, events = 0, since = 0, latest = 0, hour = 0,
  }
  if not raw then
    unit.types = {}
    return unit
  end
  local k
  unit.events, unit.since, unit.latest, k = unpack_bytes(HEAD, raw)
  unit.hour = floor(unit.latest / HOUR)
  local at, last, count = read_types(unit, raw, k), #raw, 0
  while at <= last do
    local ordinal, size = unpack_bytes('<I2I2', raw, at)
    if size < 4 or at + size > last + 1 then error('unit record broken') end
    local entry = {p = plans[ordinal], ordinal = ordinal, raw = raw, from = at, size = size, e = false, old = false}
    count = count + 1
    unit.entries[count] = entry
    at = at + size
  end
  return unit
end

local function entry_of(unit, ordinal)
  for _, entry in ipairs(unit.entries) do
    if entry.ordinal == ordinal then return entry end
  end
end

-- entry.e becomes the standing to change, entry.old keeps the numbers that `set` changes in it
local function open(entry)
  if entry.e then return entry.e end
  local p = entry.p
  local format = entry.size == p.narrow_size and p.narrow or p.wide
  if entry.size ~= p.narrow_size and entry.size ~= p.wide_size then
    error('unit record of another shape: the metrics of experiment ' .. p.ordinal .. ' changed after its start')
  end
  entry.old = {}
  entry.e = {unpack_bytes(format, entry.raw, entry.from)}
  return entry.e
end

local function set(entry, i, number)
  if entry.old[i] == nil then entry.old[i] = entry.e[i] end
  entry.e[i] = number
end

local function new_entry(unit, p, e)
  local entry = {p = p, ordinal = p.ordinal, old = p.zero, e = e}
  unit.entries[#unit.entries + 1] = entry
  return entry
end

local function pack_standing(p, e)
  local wide = e[8] > 65535 or e[11] > 65535 or e[12] > 65535
  for i = p.base + 1, p.width do
    if e[i] > 2147483647 or e[i] < -2147483647 then wide = true end
  end
  e[2] = wide and p.wide_size or p.narrow_size
  return pack_bytes(wide and p.wide or p.narrow, unpack(e, 1, p.width))
end

local function pack_entry(entry)
  if entry.e then return pack_standing(entry.p, entry.e) end
  return string.sub(entry.raw, entry.from, entry.from + entry.size - 1)
end

local function pack_unit(unit)
  local k, types = pack_types(unit)
  local head, entries = pack_bytes(HEAD, unit.events, unit.since, unit.latest, k), unit.entries
  if not entries[2] then return head .. types .. (entries[1] and pack_entry(entries[1]) or '') end
  local parts = {head, types}
  for i = 1, #entries do parts[i + 2] = pack_entry(entries[i]) end
  return table.concat(parts)
end

-- Reads what arrived and works out the new counts: field, number, ...; writes nothing. `change` holds what is
-- not of an experiment.
local function merge_arrivals(key, plans, change)
  for _, p in pairs(plans) do
    for variant, sum in pairs(p.early) do change['e:' .. p.ordinal .. ':' .. variant] = sum end
    for variant, sum in pairs(p.counted) do change['c:' .. p.ordinal .. ':' .. variant] = sum end
  end
  local fields, write = {}, {key}
  for field, amount in pairs(change) do
    if amount ~= 0 then fields[#fields + 1] = field end
  end
  for first = 1, #fields, CHUNK do
    local last = math.min(first + CHUNK - 1, #fields)
    local stored = redis.call('HMGET', key, unpack(fields, first, last))
    for i = first, last do
      local number = tonumber(stored[i - first + 1] or '0')
      if not number then error('count of arrivals broken: ' .. fields[i]) end
      write[#write + 1] = fields[i]
      write[#write + 1] = string.format('%.0f', number + change[fields[i]])
    end
  end
  return write
end

local function write_arrivals(write)
  for first = 2, #write, 2 * CHUNK do
    redis.call('HSET', write[1], unpack(write, first, math.min(first + 2 * CHUNK - 1, #write)))
  end
end
