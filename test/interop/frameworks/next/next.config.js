// SPDX-License-Identifier: MIT

/** The setting that `lib/FRAMEWORKS.md` asks for. @module */

export default { skipTrailingSlashRedirect: true }
