-- Each new value of the annotation requests one renewal; status.lastHandledRenewRequest echoes it.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["apicred.dev/renew-requested-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
