-- One commit of project records: check everything, then write everything (a script does not roll back).
-- KEYS: 1 head ("<seq> <hash>"), 2 audit list, 3 identity, then for each change the hash that holds its document.
-- ARGV: 1 the head this entry was chained to, 2 the head after it, 3 the audit entry,
--       4 the revision the writer insists on or "", 5 the identity of a store that has none yet,
--       then per change: key, expected version, stored value ("<version> <body>").
-- Answers: {"ok"} | {"document", index of the change, version found} | {"revision", head} | {"head", head}
--          | {"corrupt", length of the audit list}.
local empty = '0 ' .. string.rep('0', 64)
local head = redis.call('GET', KEYS[1]) or empty
local seq = tonumber(string.match(head, '^%d+'))
local length = redis.call('LLEN', KEYS[2])
if length ~= seq then
  return {'corrupt', length}
end
for i = 4, #KEYS do
  local at = 6 + (i - 4) * 3
  local stored = redis.call('HGET', KEYS[i], ARGV[at])
  local version = stored and tonumber(string.match(stored, '^%d+')) or 0
  if version ~= tonumber(ARGV[at + 1]) then
    return {'document', i - 4, version}
  end
end
if ARGV[4] ~= '' and seq ~= tonumber(ARGV[4]) then
  return {'revision', head}
end
if head ~= ARGV[1] then
  return {'head', head}
end
for i = 4, #KEYS do
  local at = 6 + (i - 4) * 3
  redis.call('HSET', KEYS[i], ARGV[at], ARGV[at + 2])
end
redis.call('RPUSH', KEYS[2], ARGV[3])
redis.call('SET', KEYS[3], ARGV[5], 'NX')
redis.call('SET', KEYS[1], ARGV[2])
return {'ok'}
