module apicred.dev/testenv/argo

go 1.26.0

require github.com/yuin/gopher-lua v1.1.1

require gopkg.in/evanphx/json-patch.v4 v4.13.0

require layeh.com/gopher-json v0.0.0-20201124131017-552bb3c4c3bf
