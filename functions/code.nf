include { listed } from './files'

// SHA-256 of all Python code of the pipeline and its data files, for the record of a run.
def fingerprint(bin) {
    return digest(bin, sourceFiles(bin))
}

// SHA-256 of each script with all files of the package that it imports, directly or indirectly. Nextflow's
// own task hash covers only the script that a command names.
def fingerprints(bin) {
    def texts = sourceFiles(bin).collectEntries { file -> [file, file.text] }
    def imports = texts.collectEntries { file, text -> [file, importedFiles(file, text, bin)] }
    return texts
        .keySet()
        .findAll { file -> file.parent == bin && file.name.endsWith('.py') }
        .collectEntries { script -> [script.baseName, digest(bin, reachable([script].toSet(), imports).toList())] }
}

def digest(bin, files) {
    def sha = java.security.MessageDigest.getInstance('SHA-256')
    files
        .toSorted { file -> bin.relativize(file).toString() }
        .each { file ->
            sha.update(bin.relativize(file).toString().bytes)
            sha.update(file.bytes)
        }
    return sha.digest().encodeHex().toString()
}

def sourceFiles(folder) {
    return listed(folder).collectMany { file ->
        file.isDirectory() ? sourceFiles(file) : (file.name =~ /\.(py|json|css)$/ ? [file] : [])
    }
}

// The files and all that they import, directly or indirectly.
def reachable(files, imports) {
    def more = files.collectMany { file -> imports[file] ?: [] }.toSet() - files
    return more ? reachable(files + more, imports) : files
}

// The files of the package that one file imports, wherever in it the import is, and the data files beside
// it that it names. Imports for type checkers do not count.
def importedFiles(file, text, bin) {
    def code = text.replaceAll(/(?m)^if TYPE_CHECKING:\n((?:[ \t]+.*)?\n)+/, '')
    def modules = []
    code.eachMatch(/(?m)^[ \t]*import (stlatent[\w.]*)/) { match -> modules << match[1] }
    code.eachMatch(/(?m)^[ \t]*from (stlatent[\w.]*) import (\([^)]*\)|.*)/) { match ->
        modules << match[1]
        match[2].findAll(/\w+/).each { name -> modules << "${match[1]}.${name}".toString() }
    }
    def data = listed(file.parent).findAll { beside -> !beside.name.endsWith('.py') && code.contains("\"${beside.name}\"") && !beside.isDirectory() }
    def listing = code.contains('pkgutil.iter_modules') ? modules.collectMany { module -> filesOfPackage(module, bin) } : []
    return (modules.collectMany { module -> moduleFiles(module, bin) } + listing).unique() + data
}

// The file of a module with the __init__.py of its packages; only these where the name is not a module.
def moduleFiles(module, bin) {
    def names = module.tokenize('.')
    def around = (1..names.size()).collect { size -> bin.resolve("${names.take(size).join('/')}/__init__.py") }
    return (around + [bin.resolve("${names.join('/')}.py")]).findAll { path -> path.exists() }
}

// All modules of a package: a file that lists the package may import any of them.
def filesOfPackage(module, bin) {
    def folder = bin.resolve(module.replace('.', '/'))
    return module.contains('.') && folder.isDirectory() ? listed(folder).findAll { file -> file.name.endsWith('.py') } : []
}
