// Runs a script of Argo CD over a list of objects, read as JSON, with the interpreter, the libraries and the conversions that
// Argo CD has. Writes one line of JSON for each object: what the script returns, or, of an action, the merge patch that Argo CD
// sends to the API server.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	luajson "layeh.com/gopher-json"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: argo health|discovery|action SCRIPT")
	}
	script, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return err
	}
	for _, object := range objects {
		returned, err := execute(object, string(script))
		if err != nil {
			return fmt.Errorf("%s: %w", args[1], err)
		}
		if args[0] == "action" {
			if returned, err = patch(object, returned); err != nil {
				return err
			}
		}
		fmt.Println(string(returned))
	}
	return nil
}

// Argo CD stops a script after a second, and opens no other libraries.
func execute(object map[string]any, script string) ([]byte, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	opened := []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}}
	for _, library := range opened {
		open := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(open, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	state.PreloadModule(lua.OsLibName, clock)
	luajson.Preload(state)
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", luajson.DecodeValue(state, object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return nil, fmt.Errorf("a table is expected, and not a %s", returned.Type())
	}
	return luajson.Encode(returned)
}

// The two functions of the library os that scripts get.
func clock(state *lua.LState) int {
	lua.OpenOs(state)
	whole := state.Get(-1)
	safe := state.NewTable()
	for _, name := range []string{"date", "time"} {
		safe.RawSetString(name, state.GetField(whole, name))
	}
	state.SetGlobal(lua.OsLibName, lua.LNil)
	state.Push(safe)
	return 1
}

// The change that the action wants, as a merge patch.
func patch(object map[string]any, returned []byte) ([]byte, error) {
	var changed map[string]any
	if err := json.Unmarshal(returned, &changed); err != nil {
		return nil, err
	}
	before, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(restore(changed, object))
	if err != nil {
		return nil, err
	}
	return jsonpatch.CreateMergePatch(before, after)
}

// Lua knows no empty map: each comes back as an empty list, and Argo CD puts the map back.
func restore(changed, original any) any {
	switch original := original.(type) {
	case map[string]any:
		if list, isList := changed.([]any); isList && len(list) == 0 {
			return original
		}
		if fields, isMap := changed.(map[string]any); isMap {
			for name, value := range fields {
				fields[name] = restore(value, original[name])
			}
		}
	case []any:
		if items, isList := changed.([]any); isList {
			for i := range min(len(items), len(original)) {
				items[i] = restore(items[i], original[i])
			}
		}
	}
	return changed
}
