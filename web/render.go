package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/*.css assets/*.js assets/*.svg
var assetFiles embed.FS

// asset is a file that pages link to, under a path that changes with it.
type asset struct {
	body []byte
	kind string
	hash string
}

var assets = readAssets()

func readAssets() map[string]asset {
	kinds := map[string]string{"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
	all := map[string]asset{}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic("embedded assets: " + err.Error())
	}
	for _, e := range entries {
		body, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			panic("embedded assets: " + err.Error())
		}
		sum := sha256.Sum256(body)
		_, ext, _ := strings.Cut(strings.ReplaceAll(e.Name(), ".min", ""), ".")
		all[e.Name()] = asset{body, kinds[ext], hex.EncodeToString(sum[:6])}
	}
	return all
}

// serveAsset serves a file for ever: another one has another path.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	a, there := assets[r.PathValue("name")]
	if !there || a.hash != r.PathValue("hash") {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	respond(w, r, http.StatusOK, a.kind, a.body)
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"asset": func(name string) string { return "/assets/" + assets[name].hash + "/" + name },
	"list":  func(all ...any) []any { return all },
}).ParseFS(templateFiles, "templates/*.html"))

func render(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	err := templates.ExecuteTemplate(&b, name, data)
	return b.Bytes(), err
}

var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// respond writes a whole answer, compressed where that is worth it and understood.
func respond(w http.ResponseWriter, r *http.Request, status int, kind string, body []byte) {
	const worth = 1024
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Add("Vary", "Accept-Encoding")
	if len(body) > worth && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var b bytes.Buffer
		z, _ := compressors.Get().(*gzip.Writer)
		z.Reset(&b)
		_, _ = z.Write(body) // to memory
		_ = z.Close()
		compressors.Put(z)
		h.Set("Content-Encoding", "gzip")
		body = b.Bytes()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // html/template has escaped it
	}
}
