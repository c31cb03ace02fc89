package sandbox

// TestCache is the folder that all tests of this package keep compiled modules in.
var TestCache string
