local suspended = obj.spec ~= nil and obj.spec.suspend == true
local actions = {}
actions["renew"] = { ["disabled"] = suspended, ["iconClass"] = "fa fa-fw fa-sync", ["displayName"] = "Renew" }
actions["suspend"] = { ["disabled"] = suspended, ["iconClass"] = "fa fa-fw fa-pause", ["displayName"] = "Suspend" }
actions["resume"] = { ["disabled"] = not suspended, ["iconClass"] = "fa fa-fw fa-play", ["displayName"] = "Resume" }
return actions
