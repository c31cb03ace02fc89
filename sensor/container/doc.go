// Package container says which container and pod a process belongs to. The cgroup's path, read in the kernel at its first sight, gives
// the container's id and the pod's uid (ParsePath); names, image and mounts come from the container runtime's socket (Docker, CRI), asked
// in the background (Table.Run); user and group names from the container's own files (Users).
//
// An Identity is immutable: what becomes known later is a new one. How long an event waits for it is the sensor's to decide. Read Table
// first, then Identity.
package container
