package abi

// Limits that hold for every function.
const (
	MaxModule   = 32 << 20  // bytes of a module
	MaxInitial  = 256 << 20 // bytes of memory that a module begins with, after its initialisation
	MaxEvent    = 256 << 10 // bytes of the event
	MaxConfig   = 64 << 10  // bytes of the configuration
	MaxManifest = 64 << 10  // bytes of the manifest section
	MaxOpName   = 64        // bytes of an operation's name
	MaxRequest  = 1 << 20   // bytes of a request: CodeTooLarge above
	MaxResponse = 4 << 20   // bytes of a response: CodeTooLarge above
	MaxLogLine  = 8 << 10   // bytes of a log line; cut above
	MaxText     = 4 << 10   // bytes of a Result's or an Error's text; cut above
)

// Limits that a function's document may set, with their defaults.
const (
	DefaultTimeout = 5_000_000_000 // nanoseconds of the guest's own time; what operations take does not count
	DefaultMemory  = 64 << 20      // bytes of linear memory
	DefaultOutput  = 64 << 10      // bytes of the result
	DefaultLog     = 64 << 10      // bytes of the log
	DefaultCalls   = 100           // operations, local ones included

	MaxTimeout = 300_000_000_000
	MaxMemory  = 1 << 30
	MaxOutput  = 1 << 20
	MaxLog     = 1 << 20
	MaxCalls   = 10_000
)
