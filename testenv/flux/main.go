// Applies objects as the kustomize-controller of Flux does, waits for their health as it does, and applies them again. Writes
// what came of it as JSON. The second argument is a file of Kustomizations whose healthCheckExprs count.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/clusterreader"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	ssautil "github.com/fluxcd/pkg/ssa/utils"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

const owner = "kustomize-controller"

// What came of it. An empty text of Wait: everything is healthy.
type result struct {
	Applied []string `json:"applied"`
	Wait    string   `json:"wait"`
	Seconds float64  `json:"seconds"`
	Again   []string `json:"again"`
}

func main() {
	found, err := run(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) (result, error) {
	var found result
	if len(args) != 1 && len(args) != 2 {
		return found, fmt.Errorf("usage: flux TIMEOUT [KUSTOMIZATIONS] < objects")
	}
	timeout, err := time.ParseDuration(args[0])
	if err != nil {
		return found, err
	}
	checks, err := healthChecks(args[1:])
	if err != nil {
		return found, err
	}
	manager, err := connect(checks)
	if err != nil {
		return found, err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return found, err
	}
	began := time.Now()
	applied, changes, err := apply(manager, text)
	if err != nil {
		return found, err
	}
	found.Applied = applied
	// The controller polls every 5 s. More often shows states that it may see or miss.
	wait := ssa.WaitOptions{Interval: time.Second, Timeout: timeout, FailFast: true}
	if err := manager.WaitForSet(changes.ToObjMetadataSet(), wait); err != nil {
		found.Wait = err.Error()
	}
	found.Seconds = time.Since(began).Seconds()
	found.Again, _, err = apply(manager, text)
	return found, err
}

func healthChecks(files []string) ([]kustomize.CustomHealthCheck, error) {
	var checks []kustomize.CustomHealthCheck
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		objects, err := ssautil.ReadObjects(file)
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			var typed struct {
				Spec struct {
					HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
				} `json:"spec"`
			}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
				return nil, err
			}
			checks = append(checks, typed.Spec.HealthCheckExprs...)
		}
	}
	return checks, nil
}

func connect(checks []kustomize.CustomHealthCheck) (*ssa.ResourceManager, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	// As the controller has them.
	config.QPS, config.Burst = 50, 300
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, transport)
	if err != nil {
		return nil, err
	}
	cluster, err := client.New(config, client.Options{Mapper: mapper})
	if err != nil {
		return nil, err
	}
	options := polling.Options{
		ClusterReaderFactory: engine.ClusterReaderFactoryFunc(clusterreader.NewDirectClusterReader),
	}
	if len(checks) > 0 {
		reader, err := cel.NewStatusReader(checks)
		if err != nil {
			return nil, err
		}
		options.CustomStatusReaders = []engine.StatusReader{reader(mapper)}
	}
	poller := polling.NewStatusPoller(cluster, mapper, options)
	return ssa.NewResourceManager(cluster, poller, ssa.Owner{
		Field: owner,
		Group: "kustomize.toolkit.fluxcd.io",
	}), nil
}

func apply(manager *ssa.ResourceManager, text []byte) ([]string, *ssa.ChangeSet, error) {
	objects, err := ssautil.ReadObjects(bytes.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	if err := normalize.UnstructuredList(objects); err != nil {
		return nil, nil, err
	}
	manager.SetOwnerLabels(objects, "apps", "flux-system")
	changes, err := manager.ApplyAllStaged(context.Background(), objects, options())
	if err != nil {
		return nil, nil, err
	}
	var report []string
	for _, entry := range changes.Entries {
		report = append(report, entry.String())
	}
	return report, changes, nil
}

// As the controller has them.
func options() ssa.ApplyOptions {
	options := ssa.DefaultApplyOptions()
	undo := func(name string, by metav1.ManagedFieldsOperationType) ssa.FieldManager {
		return ssa.FieldManager{Name: name, OperationType: by}
	}
	options.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{corev1.LastAppliedConfigAnnotation},
		FieldManagers: []ssa.FieldManager{
			undo("kubectl", metav1.ManagedFieldsOperationApply),
			undo("kubectl", metav1.ManagedFieldsOperationUpdate),
			undo("before-first-apply", metav1.ManagedFieldsOperationUpdate),
			undo(owner, metav1.ManagedFieldsOperationUpdate),
		},
	}
	return options
}
