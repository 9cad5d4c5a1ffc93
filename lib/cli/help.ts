// SPDX-License-Identifier: MIT

/**
 * What `longhaul --help` prints.
 *
 * @module
 */

/** One line per flag; its default, if it has one, stands in parentheses at the end. */
export const HELP = `Usage: longhaul [DIR] [options]

Serves resumable uploads (tus 1.0.0 and Resumable Uploads for HTTP) and stores them in a directory.

Storage
  --dir DIR                  directory for uploads, created if missing (default: ./uploads)
  --sync WHEN                when to flush uploads to disk: none, finish or append (default: finish)
  --lock KIND                file: other processes may share DIR; memory: none may (default: file)
  --expires TIME             remove unfinished uploads idle for this long (default: never)
  --file-mode MODE           permissions of upload files, in octal (default: 600)
  --directory-mode MODE      permissions of directories it creates, in octal (default: 700)

Network
  --host HOST                address to listen on (default: 127.0.0.1)
  --port PORT                port to listen on, 0 for any free port (default: 1080)
  --path PATH                URL path where uploads are created (default: /files/)
  --public-url URL           the URL of --path as clients see it, if a proxy changes it
  --allowed-host HOST        accept requests for this host name; repeatable, '*' for any
  --cors ORIGIN              allow browsers on this origin; repeatable, '*' for any

Limits
  --max-size SIZE            largest upload (default: 100GiB)
  --max-concurrent N         bodies received at once; further ones get 503 (default: up to 10000)
  --idle-timeout TIME        end a request that sends nothing for this long (default: 60s)
  --keep-alive-timeout TIME  close a connection without requests after this long (default: 75s)
  --grace TIME               time to finish saving after a client disconnects (default: 10s)

Features
  --download                 let clients download finished uploads
  --interop-versions N,N     versions of the Resumable Uploads draft to accept (default: 8,9)
  --log FORMAT               log format: text, json or none (default: text)
  --no-page                  do not serve the upload page at /

  --help                     print this help
  --version                  print the version

Sizes are in bytes, or have a unit: 4096, 500kB, 2GB, 10MiB. Times have a unit: 500ms, 30s, 5m, 24h.

Host names. Requests for any IP address, for localhost, and for the names in --host, --public-url
and --allowed-host are served. Other names get 421: otherwise a web page could point its own name
at this server and read the uploads. Behind a proxy that passes Host on, set --allowed-host.

Load balancers. A load balancer must close idle connections before the server does. Most do so
after 60 s; if yours keeps them for longer, raise --keep-alive-timeout.

Open files. --max-concurrent is 10000 by default, or a fifth of the open-file limit (ulimit -n)
if that is less.

Signals. SIGTERM and SIGINT (Ctrl-C) save the uploads in progress and exit with 0. A SIGINT half a
second or more after that forces the end and exits with 1; a second SIGTERM changes nothing.
`
