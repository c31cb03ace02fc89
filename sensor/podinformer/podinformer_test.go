package podinformer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	fcache "k8s.io/client-go/tools/cache/testing"

	"github.com/tiercel-project/tiercel/sensor/container"
)

const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestResolve(t *testing.T) {
	yes := true
	started := metav1.NewTime(time.Unix(1700000000, 0))
	source := fcache.NewFakeControllerSource()
	source.Add(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "shop", UID: "uid-1", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"a": "b"}},
		Spec: corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{
			{Name: "web", Image: "nginx:1.27", SecurityContext: &corev1.SecurityContext{Privileged: &yes}, Env: []corev1.EnvVar{{Name: "X"}}},
			{Name: "sidecar", Image: "envoy:1"},
		}},
		Status: corev1.PodStatus{PodIP: "10.0.0.7", ContainerStatuses: []corev1.ContainerStatus{{
			Name: "web", Image: "docker.io/library/nginx:1.27", ImageID: "docker.io/library/nginx@sha256:abc", ContainerID: "containerd://" + idA,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}},
		}}},
	})
	source.Add(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "young", Namespace: "shop", UID: "uid-2"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "only", Image: "busybox:1"}}},
	})
	r := newResolver(source, "node-1", slog.New(slog.DiscardHandler))
	if r.Ready() == nil {
		t.Error("ready before the first list")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if !cache.WaitForCacheSync(ctx.Done(), r.informer.HasSynced) {
		t.Fatal("not synced")
	}

	host := container.False
	tests := []struct {
		name string
		id   container.ID
		want *container.Info
	}{
		{"container with a status", container.ID{Container: idA, Runtime: container.Containerd, PodUID: "uid-1"}, &container.Info{
			Name: "web", Runtime: container.Containerd, Image: "docker.io/library/nginx:1.27", ImageDigest: "sha256:abc", Privileged: container.True,
			HostPID: host, HostNetwork: container.True, HostIPC: host, IP: "10.0.0.7", Started: started.Time,
			Pod: container.Pod{Name: "web-1", Namespace: "shop", UID: "uid-1", IP: "10.0.0.7", Labels: map[string]string{"app": "web"}},
		}},
		{"container of several without a status", container.ID{Container: idB, PodUID: "uid-1"}, &container.Info{
			HostPID: host, HostNetwork: container.True, HostIPC: host, IP: "10.0.0.7",
			Pod: container.Pod{Name: "web-1", Namespace: "shop", UID: "uid-1", IP: "10.0.0.7", Labels: map[string]string{"app": "web"}},
		}},
		{"only container, no status yet", container.ID{Container: idB, PodUID: "uid-2"}, &container.Info{
			Name: "only", Image: "busybox:1", Privileged: container.False, HostPID: host, HostNetwork: host, HostIPC: host,
			Pod: container.Pod{Name: "young", Namespace: "shop", UID: "uid-2"},
		}},
		{"unknown pod", container.ID{Container: idA, PodUID: "uid-3"}, nil},
		{"no pod", container.ID{Container: idA}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := r.Resolve(ctx, tt.id)
			if (tt.want == nil) != errors.Is(err, container.ErrNotFound) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
