-- Health of a ClusterTokenIssuer, TokenIssuer or ApiClient, from its conditions Ready and Stalled.
local hs = { status = "Progressing", message = "Waiting for apicred" }
-- The API server sets observedGeneration to -1 until apicred has seen the object.
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready, stalled = conditions["Ready"], conditions["Stalled"]
if ready == nil then
  return hs
end
hs.message = ready.message
if ready.status == "True" then
  hs.status = "Healthy"
elseif stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = stalled.message
end
return hs
