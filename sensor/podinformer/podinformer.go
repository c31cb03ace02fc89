// Package podinformer names containers from the Kubernetes API: it watches the pods of one node and answers, as a container.Resolver,
// which pod and container an id from a cgroup's path belongs to. It is a package of its own because it brings client-go with it, which a
// sensor without a kubeconfig does not load.
package podinformer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tiercel-project/tiercel/sensor/container"
)

// byUID is the index of pods by their uid.
const byUID = "uid"

// A Resolver watches the pods of a node. It implements container.Resolver; until the first list has arrived it knows no pod.
type Resolver struct {
	informer cache.SharedIndexInformer
	node     string
	log      *slog.Logger
}

var _ container.Resolver = (*Resolver)(nil)

// New returns a resolver for the pods of node, which Run starts.
func New(client kubernetes.Interface, node string, log *slog.Logger) *Resolver {
	lw := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", corev1.NamespaceAll, fields.OneTermEqualSelector("spec.nodeName", node))
	return newResolver(lw, node, log)
}

func newResolver(lw cache.ListerWatcher, node string, log *slog.Logger) *Resolver {
	informer := cache.NewSharedIndexInformer(lw, &corev1.Pod{}, 0, cache.Indexers{byUID: func(obj any) ([]string, error) {
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			return nil, nil
		}
		return []string{string(pod.UID)}, nil
	}})
	r := &Resolver{informer: informer, node: node, log: log}
	// Neither can return an error: the informer has not started.
	_ = informer.SetTransform(strip)
	_ = informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) {
		log.Warn("watching the node's pods was interrupted", "err", err)
	})
	return r
}

// Run watches until ctx ends.
func (r *Resolver) Run(ctx context.Context) error {
	r.informer.RunWithContext(ctx)
	return nil
}

// Ready returns nil once the first list of pods has arrived.
func (r *Resolver) Ready() error {
	if !r.informer.HasSynced() {
		return fmt.Errorf("the pods of node %s are not listed yet", r.node)
	}
	return nil
}

// String implements container.Resolver.
func (r *Resolver) String() string { return "pods of node " + r.node }

// Resolve implements container.Resolver. It returns container.ErrNotFound for what is no pod's, or a pod's that is not known (yet).
func (r *Resolver) Resolve(_ context.Context, id container.ID) (*container.Info, error) {
	if id.PodUID == "" {
		return nil, fmt.Errorf("container %s is in no pod: %w", id.Short(), container.ErrNotFound)
	}
	pods, err := r.informer.GetIndexer().ByIndex(byUID, id.PodUID)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return nil, fmt.Errorf("pod %s on node %s: %w", id.PodUID, r.node, container.ErrNotFound)
	}
	return describe(pods[0].(*corev1.Pod), id), nil
}

// describe returns what pod tells about the container id. A pod whose status does not name the container yet, and that has one container
// only, can mean no other.
func describe(pod *corev1.Pod, id container.ID) *container.Info {
	info := &container.Info{
		Runtime:     id.Runtime,
		HostPID:     container.BoolOf(pod.Spec.HostPID),
		HostNetwork: container.BoolOf(pod.Spec.HostNetwork),
		HostIPC:     container.BoolOf(pod.Spec.HostIPC),
		IP:          pod.Status.PodIP,
		Pod: container.Pod{
			Name: pod.Name, Namespace: pod.Namespace, UID: string(pod.UID), IP: pod.Status.PodIP, Labels: pod.Labels,
		},
	}
	status := findStatus(pod, id.Container)
	specs := containers(pod)
	switch {
	case status != nil:
		info.Name, info.Image = status.Name, status.Image
		info.ImageDigest = digest(status.ImageID)
		if status.State.Running != nil {
			info.Started = status.State.Running.StartedAt.Time
		}
	case len(specs) == 1:
		info.Name, info.Image = specs[0].Name, specs[0].Image
	}
	for i := range specs {
		if specs[i].Name == info.Name {
			describeSpec(info, &specs[i])
		}
	}
	return info
}

func describeSpec(info *container.Info, c *corev1.Container) {
	info.Privileged = container.BoolOf(c.SecurityContext != nil && c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged)
	if info.Image == "" {
		info.Image = c.Image
	}
}

// containers returns all containers of pod's specification as plain ones.
func containers(pod *corev1.Pod) []corev1.Container {
	all := make([]corev1.Container, 0, len(pod.Spec.Containers)+len(pod.Spec.InitContainers)+len(pod.Spec.EphemeralContainers))
	all = append(all, pod.Spec.Containers...)
	all = append(all, pod.Spec.InitContainers...)
	for i := range pod.Spec.EphemeralContainers {
		all = append(all, corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	return all
}

// findStatus returns the status of the container with the runtime's id, which the API writes as "containerd://<id>".
func findStatus(pod *corev1.Pod, id string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{
		pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for i := range list {
			if _, got, ok := strings.Cut(list[i].ContainerID, "://"); ok && got == id {
				return &list[i]
			}
		}
	}
	return nil
}

// digest returns the sha256:… of an image id like "docker.io/library/nginx@sha256:…".
func digest(imageID string) string {
	if i := strings.Index(imageID, "sha256:"); i >= 0 {
		return imageID[i:]
	}
	return ""
}

// strip drops from a pod what Resolve never reads, before it is kept in memory.
func strip(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	pod.ManagedFields, pod.Annotations, pod.OwnerReferences = nil, nil, nil
	pod.Spec.Volumes, pod.Spec.Affinity, pod.Spec.Tolerations = nil, nil, nil
	pod.Status.Conditions = nil
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			list[i] = corev1.Container{Name: list[i].Name, Image: list[i].Image, SecurityContext: list[i].SecurityContext}
		}
	}
	return pod, nil
}
