// An application of net/http; nothing in `routes` knows where it runs.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"
)

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "hello from the framework")
	})
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.Atoi(r.PathValue("id"))
		q := r.URL.Query()["q"]
		if q == nil {
			q = []string{}
		}
		answer(w, 200, map[string]any{"id": id, "q": q})
	})
	mux.HandleFunc("DELETE /items/{id}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	mux.HandleFunc("POST /json", func(w http.ResponseWriter, r *http.Request) {
		var value any
		json.NewDecoder(r.Body).Decode(&value)
		answer(w, 201, value)
	})
	mux.HandleFunc("PUT /form", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, map[string]string{"a": r.PostFormValue("a"), "b": r.PostFormValue("b")})
	})
	mux.HandleFunc("POST /files", func(w http.ResponseWriter, r *http.Request) {
		file, head, err := r.FormFile("file")
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		content, _ := io.ReadAll(file)
		answer(w, 200, map[string]string{"note": r.FormValue("note"), "name": head.Filename, "sha256": digest(content)})
	})
	mux.HandleFunc("GET /headers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Answer", "42")
		answer(w, 200, map[string]string{"custom": r.Header.Get("X-Custom")})
	})
	mux.HandleFunc("GET /cookies", func(w http.ResponseWriter, r *http.Request) {
		found := map[string]string{}
		for _, cookie := range r.Cookies() {
			found[cookie.Name] = cookie.Value
		}
		answer(w, 200, found)
	})
	mux.HandleFunc("GET /set-cookies", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "one", Value: "1"})
		http.SetCookie(w, &http.Cookie{Name: "two", Value: "2", HttpOnly: true})
		answer(w, 200, map[string]string{})
	})
	mux.HandleFunc("POST /binary", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer(w, 200, map[string]any{"size": len(body), "sha256": digest(body)})
	})
	mux.HandleFunc("GET /image", func(w http.ResponseWriter, r *http.Request) {
		data := make([]byte, 256)
		for n := range data {
			data[n] = byte(n)
		}
		w.Header().Set("Content-Type", "image/png")
		w.Write(data)
	})
	mux.HandleFunc("GET /redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/items/7", http.StatusFound)
	})
	mux.HandleFunc("GET /unicode/{word}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "«%s»", r.PathValue("word"))
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for number := range 5 {
			fmt.Fprintf(w, "part %d\n", number)
			if flusher, ok := w.(http.Flusher); ok {
				flusher.Flush()
			}
		}
	})
	mux.HandleFunc("GET /error", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "as asked", http.StatusInternalServerError)
	})
	mux.HandleFunc("GET /teapot", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "short and stout", http.StatusTeapot)
	})
	return mux
}

func main() {
	if port := os.Getenv("AWS_LWA_PORT"); port != "" { // the way of the Web Adapter: an ordinary server
		http.ListenAndServe("127.0.0.1:"+port, routes())
		return
	}
	lambda.Start(httpadapter.NewV2(routes()).ProxyWithContext)
}
