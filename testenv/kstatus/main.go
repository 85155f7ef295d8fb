// Reads a list of objects as JSON, and writes the kstatus of each, one a line.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return err
	}
	for _, object := range objects {
		// Numbers of JSON that are whole are int64 to Kubernetes' accessors.
		text, err := json.Marshal(object)
		if err != nil {
			return err
		}
		parsed := &unstructured.Unstructured{}
		if err := parsed.UnmarshalJSON(text); err != nil {
			return err
		}
		found, err := status.Compute(parsed)
		if err != nil {
			return err
		}
		fmt.Println(found.Status)
	}
	return nil
}
