// Package exempt lets another process of Tiercel on the same machine, a runtime of its own, be passed over as the sensor itself is: what it does
// is no event. It asks over a unix socket that only root can open, or the users in Config.Users too, and is exempt for as long as the
// connection stands.
//
// Who asks is told by the kernel (SO_PEERCRED, SO_PEERPIDFD), never by what it says: it must have the sensor's own user, or be a process of one
// of Users that nobody else of that user can have changed, and run the very program that the sensor runs. The exemption is of that process and
// that program (kernel.Sensor.Exempt): neither what it starts nor what it becomes by exec is exempt. docs/threat-model.md says what this leaves
// to an attacker.
//
// Read Server first, which the sensor runs; Client is the runtime's side.
package exempt
