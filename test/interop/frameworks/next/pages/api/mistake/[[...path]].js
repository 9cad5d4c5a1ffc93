// SPDX-License-Identifier: MIT

/** How not to mount the handler: Next reads the body, as there is no `bodyParser: false`. @module */

export default (req, res) => globalThis.uploads(req, res)
