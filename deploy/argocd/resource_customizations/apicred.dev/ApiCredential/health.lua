-- Health of an ApiCredential, from its conditions Ready, Stalled and RenewalFailing.
local hs = { status = "Progressing", message = "Waiting for apicred" }
-- The API server sets observedGeneration to -1 until apicred has seen the object.
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end
if obj.spec ~= nil and obj.spec.suspend == true then
  hs.status = "Suspended"
  hs.message = "spec.suspend is set"
  return hs
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready, stalled, failing = conditions["Ready"], conditions["Stalled"], conditions["RenewalFailing"]
if ready == nil then
  return hs
end
hs.message = ready.message
if ready.status == "True" then
  -- The token is valid. A renewal that fails is a matter for alerts, not for a sync.
  hs.status = "Healthy"
  if failing ~= nil and failing.status == "True" then
    hs.message = ready.message .. "; the renewal fails: " .. failing.reason
  end
elseif ready.reason == "Ended" then
  -- spec.notAfter has passed: a planned end is no failure.
  hs.status = "Suspended"
elseif stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = stalled.message
end
return hs
