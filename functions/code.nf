include { listed } from './files'

// SHA-256 over the names and contents of the Python files below a folder, and of the numbers that
// they read: Nextflow's own task hash sees only the script that a command names, not the package that
// it imports.
def fingerprint(folder) {
    def digest = java.security.MessageDigest.getInstance('SHA-256')
    sourceFiles(folder)
        .sort { file -> folder.relativize(file).toString() }
        .each { file ->
            digest.update(folder.relativize(file).toString().bytes)
            digest.update(file.bytes)
        }
    return digest.digest().encodeHex().toString()
}

def sourceFiles(folder) {
    return listed(folder).collectMany { file ->
        file.isDirectory() ? sourceFiles(file) : (file.name =~ /\.(py|json)$/ ? [file] : [])
    }
}
