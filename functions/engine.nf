// The engine that runs the tasks in containers, or null. Executors of clouds always use containers, but
// Nextflow names no engine for them.
def containerEngine() {
    def clouds = ['awsbatch', 'google-batch', 'azurebatch', 'k8s']
    def profiles = workflow.profile.tokenize(',')
    def inCloud = nextflow.Global.config?.process?.executor in clouds || profiles.any { profile -> profile in ['awsbatch', 'googlebatch'] }
    return workflow.containerEngine ?: (inCloud ? 'docker' : null)
}
