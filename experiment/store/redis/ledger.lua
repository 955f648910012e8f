-- Cells and how they change. Shared by ledger_record.lua and ledger_refold.lua: ledger_units.lua and one of them are
-- appended to this text. docs/redis.md describes the bytes.
--
-- A standing (a unit in one experiment) is an array: 1 ordinal, 2 size in bytes, 3 flags (1 contaminated,
-- 2 carried), 4 epoch, 5 segment, 6 variant, 7 first exposure in ms, 8 exposures, 9 fallbacks,
-- 10 mismatches, 11 early outcomes, 12 counted outcomes, then one number per dimension value, then the unit's total per slot, then its covariates.
-- A cell is an array of doubles holding integers: 1 n, 2 exposures, 3 fallbacks, 4 mismatches, 5 carried,
-- then per metric: proportion x | mean x, xx | ratio x, y, xx, yy, xy, and where the metric has covariates
-- z, zz, xz | for ratios z1, z2, z1z1, z1z2, z2z2, xz1, xz2, yz1, yz2. Sums of products are two limbs
-- (high, low): high * 2^40 + low, 0 <= low < 2^40.

local unpack_bytes, pack_bytes, floor = struct.unpack, struct.pack, math.floor
local WORD = 1048576            -- 2^20
local LIMB = 1099511627776      -- 2^40
local LIMIT = 9007199254740991  -- 2^53 - 1, the largest integer a double counts to
local DAY = 86400000
local HOUR = 3600000
local FIXED = 12                -- numbers of a standing before its dimension values
local LAST_COUNT = 10           -- the last number of a standing that cells add up as it is
local FULL = 255                -- outcomes of one type and hour that a record counts apart
local COUNTS = 5                -- numbers of a cell before its metrics
local PROPORTION, MEAN, RATIO = 1, 2, 3
local SIZES = {1, 3, 8}         -- numbers of a cell per metric type
local CHUNK = 500               -- fields per HMGET and HSET: unpack() ends near 8,000 values
local HEAD, HEAD_SIZE = '<I4I4I6B', 15

-- places the sums of metric m's covariates in the cell behind `at`; `low` learns where low limbs are
local function covariate_layout(p, m, metric, at, low)
  local c = {metric = metric, at = at, z = {}, sides = m[1] == RATIO and {metric.x, metric.y} or {metric.x}}
  for i = 5, #m do c.z[i - 4] = p.totals + m[i] end
  local k = #c.z
  at = at + k
  for _ = 1, k * (k + 1) / 2 + k * #c.sides do
    low[#low + 1] = at + 2
    at = at + 2
  end
  p.adjusted[#p.adjusted + 1] = c
  return at
end

local function compile(text, cells_key)
  local doc = cjson.decode(text)
  local p = {ordinal = doc.o, window = doc.w, values = doc.d, key = cells_key, groups = {}, slot = {}, metrics = {}, covariates = doc.z, reads = {}, early = {}, counted = {}}
  for _, kind in ipairs(doc.r) do p.reads[kind] = true end
  p.base = FIXED + doc.d
  p.totals = p.base + #doc.s
  p.width = p.totals + doc.z
  local place = '<I2I2BI2BBI6'
  p.narrow = place .. 'I2I2I2I2I2' .. string.rep('B', doc.d) .. string.rep('i4', #doc.s + doc.z)
  p.wide = place .. 'I6I6I6I6I6' .. string.rep('B', doc.d) .. string.rep('d', #doc.s + doc.z)
  p.narrow_size, p.wide_size = struct.size(p.narrow), struct.size(p.wide)
  for i, slot in ipairs(doc.s) do p.slot[slot] = p.base + i end
  local at, low = COUNTS, {}
  for i, m in ipairs(doc.m) do
    -- products of totals up to 2^20 stay below 2^40, so the low limb takes them whole
    p.metrics[i] = {type = m[1], x = p.base + m[2], y = p.base + m[3], cap = m[4], small = m[4] <= WORD, at = at}
    if m[1] == MEAN then
      low[#low + 1] = at + 3
    elseif m[1] ~= PROPORTION then
      for limb = at + 4, at + 8, 2 do low[#low + 1] = limb end
    end
    at = at + SIZES[m[1]]
    if m[5] then
      p.adjusted = p.adjusted or {}
      at = covariate_layout(p, m, p.metrics[i], at, low)
    end
  end
  p.length, p.low = at, low
  p.cell, p.cell_size = '<' .. string.rep('d', at), at * 8
  p.zero = {}
  for i = 3, p.width do p.zero[i] = 0 end
  return p
end

-- plans by ordinal, compiled when first needed: texts[i] describes the experiment whose cells are cell_keys[i]
local function lazy_plans(ordinals, texts, first_key)
  local position = {}
  for i, ordinal in ipairs(ordinals) do position[ordinal] = i end
  return setmetatable({}, {__index = function(plans, ordinal)
    local i = position[ordinal]
    if not i then return nil end
    local p = compile(texts[i], KEYS[first_key + i - 1])
    plans[ordinal] = p
    return p
  end})
end

-- exact x * y as high, low limbs for |x|, |y| <= 2^40; 0 <= low < 2^41, so 2,000 of them still add exactly
local function product(x, y)
  local a, c = floor(x / WORD), floor(y / WORD)
  local b, d = x - a * WORD, y - c * WORD  -- not negative, whatever the signs of x and y
  local middle = a * d + b * c
  local carry = floor(middle / WORD)
  return a * c + carry, (middle - carry * WORD) * WORD + b * d
end

-- The change between two standings, as AT (position in the cell) and BY (amount), 1..k. One table for all calls:
-- making new ones costs more than filling them.
local AT, BY = {}, {}

local function product_change(x0, y0, x1, y1, small, limb, k)
  if small then
    local change = x1 * y1 - x0 * y0
    if change ~= 0 then k = k + 1; AT[k], BY[k] = limb + 1, change end
    return k
  end
  local high0, low0 = product(x0, y0)
  local high1, low1 = product(x1, y1)
  AT[k + 1], BY[k + 1] = limb, high1 - high0
  AT[k + 2], BY[k + 2] = limb + 1, low1 - low0
  return k + 2
end

local function clip(total, cap)
  if total > cap then return cap end
  if total < -cap then return -cap end
  return total
end

-- adds what metric m changes; `old` holds at least the totals that differ
local function metric_change(m, old, new, k)
  local x1 = new[m.x]
  local x0 = old[m.x] or x1
  if m.type == PROPORTION then
    x0, x1 = x0 > 0 and 1 or 0, x1 > 0 and 1 or 0
    if x0 ~= x1 then k = k + 1; AT[k], BY[k] = m.at + 1, x1 - x0 end
    return k
  end
  local cap, small, first = m.cap, m.small, m.at + 1
  x0, x1 = clip(x0, cap), clip(x1, cap)
  local limb = first + (m.type == MEAN and 1 or 2)
  if x0 ~= x1 then
    k = k + 1
    AT[k], BY[k] = first, x1 - x0
    k = product_change(x0, x0, x1, x1, small, limb, k)
  end
  if m.type == MEAN then return k end
  local y1 = new[m.y]
  local y0 = clip(old[m.y] or y1, cap)
  y1 = clip(y1, cap)
  if y0 ~= y1 then
    k = k + 1
    AT[k], BY[k] = first + 1, y1 - y0
    k = product_change(y0, y0, y1, y1, small, limb + 2, k)
  end
  if x0 == x1 and y0 == y1 then return k end
  return product_change(x0, y0, x1, y1, small, limb + 4, k)
end

-- adds what the covariates c of a metric change, beside the sums of the metric itself
local function covariate_change(c, old, new, k)
  local m, z, was, now = c.metric, c.z, {}, {}
  for i = 1, #z do
    now[i] = new[z[i]]
    was[i] = old[z[i]] or now[i]
    if was[i] ~= now[i] then k = k + 1; AT[k], BY[k] = c.at + i, now[i] - was[i] end
  end
  local limb = c.at + #z + 1
  for i = 1, #z do
    for j = i, #z do
      if was[i] ~= now[i] or was[j] ~= now[j] then
        k = product_change(was[i], was[j], now[i], now[j], false, limb, k)
      end
      limb = limb + 2
    end
  end
  for _, side in ipairs(c.sides) do
    local x1 = new[side]
    local x0 = old[side] or x1
    if m.type == PROPORTION then
      x0, x1 = x0 > 0 and 1 or 0, x1 > 0 and 1 or 0
    else
      x0, x1 = clip(x0, m.cap), clip(x1, m.cap)
    end
    for i = 1, #z do
      if x0 ~= x1 or was[i] ~= now[i] then k = product_change(x0, was[i], x1, now[i], false, limb, k) end
      limb = limb + 2
    end
  end
  return k
end

-- the cells of a place: all units and one per dimension value
local function group_of(p, e)
  local place = ((e[4] * 256 + e[5]) * 256 + e[6]) * 2 + e[3] % 2
  local day = floor(e[7] / DAY)
  local code = place * 131072 + day  -- < 2^50: days of accepted times are below 2^17
  local group = p.groups[code]
  if not group then
    group = {name = e[4] .. ':' .. e[5] .. ':' .. e[6] .. ':' .. day .. ':' .. e[3] % 2, cells = {}}
    p.groups[code] = group
  end
  return group.cells
end

local function add(cells, id, k)
  local cell = cells[id]
  if not cell then cell = {}; cells[id] = cell end
  for i = 1, k do
    local position = AT[i]
    cell[position] = (cell[position] or 0) + BY[i]
  end
end

-- Adds new - old to the cells where `where` (one of the two) counts. `old` may lack what did not change.
local function spread(p, old, new, where)
  local k, metrics = 0, p.metrics
  local n = (new == p.zero and 0 or 1) - (old == p.zero and 0 or 1)
  if n ~= 0 then k = 1; AT[1], BY[1] = 1, n end
  if old[8] then  -- no exposure leaves this count alone
    for i = 8, LAST_COUNT do
      local change = old[i] and new[i] - old[i] or 0
      if change ~= 0 then k = k + 1; AT[k], BY[k] = i - 6, change end
    end
    local carried = floor(new[3] / 2) - floor((old[3] or new[3]) / 2)
    if carried ~= 0 then k = k + 1; AT[k], BY[k] = 5, carried end
  end
  for i = 1, #metrics do
    local m = metrics[i]
    if old[m.x] or old[m.y] then k = metric_change(m, old, new, k) end
  end
  local adjusted = p.adjusted
  if adjusted then
    for i = 1, #adjusted do k = covariate_change(adjusted[i], old, new, k) end
  end
  if k == 0 then return end
  local cells = group_of(p, where)
  add(cells, 0, k)
  for i = 1, p.values do add(cells, i * 256 + where[FIXED + i], k) end
end

-- moves a unit from standing `old` to `new`; p.zero stands for none
local function settle(p, old, new)
  -- a change that keeps no flags in `old` is one of totals and counts only
  if old == p.zero or old[3] == nil then
    spread(p, old, new, new)
  else
    for i = 4, p.width do old[i] = old[i] or new[i] end
    spread(p, old, p.zero, old)
    spread(p, p.zero, new, new)
  end
end

local function merge_cell(p, field, blob, change)
  local cell
  if not blob then
    cell = {}
    for i = 1, p.length do cell[i] = 0 end
  elseif #blob == p.cell_size then
    cell = {unpack_bytes(p.cell, blob)}
  else
    error('cell of another shape: ' .. p.key .. ' ' .. field)
  end
  for i, amount in pairs(change) do cell[i] = cell[i] + amount end
  for _, low in ipairs(p.low) do
    local carry = floor(cell[low] / LIMB)
    if carry ~= 0 then
      cell[low] = cell[low] - carry * LIMB
      cell[low - 1] = cell[low - 1] + carry
    end
  end
  for i = 1, p.length do
    local number = cell[i]
    if not (number <= LIMIT and number >= -LIMIT) then return nil end
  end
  return pack_bytes(p.cell, unpack(cell, 1, p.length))
end

-- reads every touched cell and works out its new bytes; writes nothing.
-- Returns a list of {key, field, bytes, field, bytes, ...}, or nil and the cell whose sums have no room.
local function merge_cells(plans)
  local writes = {}
  for _, p in pairs(plans) do
    local fields, changes = {}, {}
    for _, group in pairs(p.groups) do
      for id, change in pairs(group.cells) do
        fields[#fields + 1] = group.name .. ':' .. floor(id / 256) .. ':' .. id % 256
        changes[#changes + 1] = change
      end
    end
    for first = 1, #fields, CHUNK do
      local last = math.min(first + CHUNK - 1, #fields)
      local blobs = redis.call('HMGET', p.key, unpack(fields, first, last))
      local write = {p.key}
      for i = first, last do
        local bytes = merge_cell(p, fields[i], blobs[i - first + 1], changes[i])
        if not bytes then return nil, p.key .. ' ' .. fields[i] end
        write[#write + 1], write[#write + 2] = fields[i], bytes
      end
      writes[#writes + 1] = write
    end
  end
  return writes
end

local function write_cells(writes)
  for _, write in ipairs(writes) do redis.call('HSET', unpack(write)) end
end
