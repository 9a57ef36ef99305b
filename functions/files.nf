// The contents of a folder, by name. The method of Path for this is named differently before Nextflow 26.04.
def listed(folder) {
    return java.nio.file.Files.newDirectoryStream(folder).withCloseable { paths -> paths.toList() }.sort { path -> path.name }
}

def readJson(json) {
    return new groovy.json.JsonSlurper().parse(json)
}
