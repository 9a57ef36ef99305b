include { listed } from './files'

// SHA-256 of all Python code of the pipeline, and of the data files beside it, for the record of a run.
def fingerprint(bin) {
    return digest(bin, sourceFiles(bin))
}

// SHA-256 by script of what it runs: itself and the files of the package that it imports, directly or
// not. Nextflow's own task hash sees only the script that a command names.
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

// Files and all that they import, step by step until nothing new is found.
def reachable(files, imports) {
    def more = files.collectMany { file -> imports[file] ?: [] }.toSet() - files
    return more ? reachable(files + more, imports) : files
}

// The files that one file imports from the package, wherever in it an import stands, and the data files
// beside it that it names. Imports for type checkers alone are none.
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

// The file of a module, or nothing where the name is of something in a module; and the packages around it.
def moduleFiles(module, bin) {
    def names = module.tokenize('.')
    def around = (1..names.size()).collect { size -> bin.resolve("${names.take(size).join('/')}/__init__.py") }
    return (around + [bin.resolve("${names.join('/')}.py")]).findAll { path -> path.exists() }
}

// What a file may import that looks into a package for modules to import.
def filesOfPackage(module, bin) {
    def folder = bin.resolve(module.replace('.', '/'))
    return module.contains('.') && folder.isDirectory() ? listed(folder).findAll { file -> file.name.endsWith('.py') } : []
}
