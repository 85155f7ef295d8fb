-- Removed, and not set to false: the object is then as Git has it.
obj.spec.suspend = nil
return obj
