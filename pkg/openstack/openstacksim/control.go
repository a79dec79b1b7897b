package openstacksim

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
)

// pathControl is where a simulator that runs as a process of its own is asked about itself. It is no part of OpenStack, needs
// no token, and is there for whoever can reach the loopback address.
const pathControl = "/simulator"

// control answers GET calls (the call log), DELETE calls (forget it), POST faults (add one), DELETE faults (end all) and GET
// secrets (what must not be in any log).
func (c *Cloud) control() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		body, err := json.Marshal(v)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body) // the client may have gone
	}
	mux.HandleFunc("GET "+pathControl+"/calls", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.Calls.All()) })
	mux.HandleFunc("DELETE "+pathControl+"/calls", func(w http.ResponseWriter, _ *http.Request) {
		c.Calls.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST "+pathControl+"/faults", func(w http.ResponseWriter, r *http.Request) {
		var fault Fault
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&fault); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := fault.check(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.Faults.Add(fault)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE "+pathControl+"/faults", func(w http.ResponseWriter, _ *http.Request) {
		c.Faults.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET "+pathControl+"/secrets", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.Secrets()) })
	return mux
}

// Secrets returns all that must not be in any log: passwords, application credential secrets, tokens, cephx keys, and the
// payloads of Barbican as they are, in base64 and in hex.
func (c *Cloud) Secrets() []string {
	out := c.Keystone.Secrets()
	c.Manila.mu.Lock()
	for _, user := range c.Manila.cephKeys { // they outlive their rules and shares
		out = append(out, user.key)
	}
	c.Manila.mu.Unlock()
	for _, payload := range c.Barbican.Payloads() {
		out = append(out, string(payload), base64.StdEncoding.EncodeToString(payload), hex.EncodeToString(payload))
	}
	return out
}
