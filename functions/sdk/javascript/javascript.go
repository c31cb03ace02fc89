// Package javascript is the SDK for functions in JavaScript: tiercel.js, which the runtime loads before a function's source, and
// tiercel.d.ts, which tells an editor what a function can use. Read [Program] next: it is what is deployed.
package javascript

import _ "embed"

// SDK is the source of tiercel.js, SDKName the file that its stack frames name.
//
//go:embed tiercel.js
var SDK string

// SDKName is the file that stack frames of SDK name.
const SDKName = "tiercel:sdk"

// Types is tiercel.d.ts.
//
//go:embed tiercel.d.ts
var Types string
