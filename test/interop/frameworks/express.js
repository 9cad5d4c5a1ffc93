// SPDX-License-Identifier: MIT

/** Uploads beside the routes of Express 5. @module */

import express from 'express'

/** Express takes the mount path off `req.url`; the handler's `path` is the whole one all the same. */
export function recipe(tus) {
  const app = express()
  app.use('/api/files', tus) // before whatever reads bodies
  app.use(express.json())
  app.post('/api/notes', (req, res) => void res.json(req.body))

  const server = app.listen(0, '127.0.0.1')
  server.requestTimeout = 0
  return server
}

/** The parser comes first, and takes every body. */
export function mistake(tus) {
  const app = express()
  app.use(express.raw({ type: '*/*' }))
  app.use('/api/files', tus)
  return app.listen(0, '127.0.0.1')
}
