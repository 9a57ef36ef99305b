// What runs the tasks in containers, or null. The clouds' executors do so whatever the settings say, and
// with them Nextflow names no engine.
def containerEngine() {
    def clouds = ['awsbatch', 'google-batch', 'azurebatch', 'k8s']
    def profiles = workflow.profile.tokenize(',')
    def inCloud = nextflow.Global.config?.process?.executor in clouds || profiles.any { profile -> profile in ['awsbatch', 'googlebatch'] }
    return workflow.containerEngine ?: (inCloud ? 'docker' : null)
}
