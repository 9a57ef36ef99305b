// What is in a folder, by name. Files' own method for it has another name before Nextflow 26.04 than after.
def listed(folder) {
    return java.nio.file.Files.newDirectoryStream(folder).withCloseable { paths -> paths.toList() }.sort { path -> path.name }
}

def readJson(json) {
    return new groovy.json.JsonSlurper().parse(json)
}
