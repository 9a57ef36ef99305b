include { listed ; readJson } from './files'

// What errorStrategy noted of tasks that it gave up in this run.
def lostTasks() {
    def folder = workflow.workDir.resolve("lost/${workflow.runName}")
    return folder.exists() ? listed(folder) : []
}

// How many GPUs a task of a process asked for. Tasks that succeeded say so; of a process of which all
// tasks died the notes do.
def acceleratorsOf(requests) {
    def notes = lostTasks().findAll { json -> json.size() > 0 }.collect { json -> readJson(json) }.findAll { note -> note.accelerator }
    return notes.collectEntries { note -> [note.process, note.accelerator] } + requests.collectEntries { process, number -> [process.tokenize(':').last(), number.toInteger()] }
}
