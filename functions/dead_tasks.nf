include { listed ; readJson } from './files'

// The notes that errorStrategy wrote about tasks that it gave up in this run.
def deadTasks() {
    def folder = workflow.workDir.resolve("dead_tasks/${workflow.runName}")
    return folder.exists() ? listed(folder) : []
}

// How many GPUs a task of each process requested. Tasks that succeeded report it; where all tasks of a
// process died, the notes do.
def acceleratorsOf(requests) {
    def notes = deadTasks().findAll { json -> json.size() > 0 }.collect { json -> readJson(json) }.findAll { note -> note.accelerator }
    return notes.collectEntries { note -> [note.process, note.accelerator] } + requests.collectEntries { process, number -> [process.tokenize(':').last(), number.toInteger()] }
}
