// Parameters that a profile needs and that are missing. The cloud's executor checks the work directory.
def checkPlatform(options, profiles) {
    def problems = profiles.collectMany { profile ->
        profile == 'awsbatch' ? awsProblems(options) : profile == 'googlebatch' ? googleProblems(options) : []
    }
    if (problems) {
        error(problems.join('\n'))
    }
    if ('googlebatch' in profiles && workflow.nextflow.version.matches('>=25.10') && !workflow.nextflow.version.matches('>=26.04')) {
        log.warn("Nextflow ${workflow.nextflow.version} may count a task as failed while Google Batch repeats it: keep google.batch.maxSpotAttempts at 0, as this profile does, or use 26.04.")
    }
    // It reads settings of the whole run before the command line.
    def early = System.getenv('NXF_SYNTAX_PARSER') == 'v2' && !workflow.nextflow.version.matches('>=25.10')
    if (early && profiles.any { profile -> profile in ['awsbatch', 'googlebatch'] }) {
        log.warn('With NXF_SYNTAX_PARSER=v2, Nextflow before 25.10 ignores --region, --google_project and --spot: unset it.')
    }
}

def awsProblems(options) {
    def region = options.region || System.getenv('AWS_REGION') || System.getenv('AWS_DEFAULT_REGION')
    return [
        options.queue ? null : '--queue: is needed with -profile awsbatch: the AWS Batch queue of the CPU tasks',
        options.gpu_queue || !options.use_gpu ? null : '--gpu_queue: is needed with -profile awsbatch: the queue of the GPU tasks; or --use_gpu false',
        region ? null : '--region: is needed with -profile awsbatch, such as eu-central-1; or set AWS_REGION',
    ].findAll { problem -> problem } + imageProblems(options)
}

def googleProblems(options) {
    return [
        options.google_project ? null : '--google_project: is needed with -profile googlebatch: the ID of the project that pays',
        options.region ? null : '--region: is needed with -profile googlebatch, such as europe-west4',
        options.gpu_machine_type || !options.use_gpu || options.gpu_type in [null, 'nvidia-l4', 'nvidia-tesla-t4', 'nvidia-tesla-p4'] ? null : "--gpu_machine_type: is needed with --gpu_type ${options.gpu_type}, such as a2-highgpu-1g for nvidia-tesla-a100".toString(),
    ].findAll { problem -> problem } + imageProblems(options)
}

// Images that `make images` builds exist on one machine only.
def imageProblems(options) {
    return ['container_image', 'gpu_container_image']
        .findAll { name -> (options.use_gpu || name == 'container_image') && !"${options[name]}".contains('/') }
        .collect { name -> "--${name}: '${options[name]}' is an image on this machine; the cloud needs the name under which you pushed it".toString() }
}

// What the report says of the device. `device` is the result of CHECK_DEVICE: empty when it did not run or failed.
def deviceFact(device, use_gpu) {
    if (!use_gpu) {
        return 'CPU (--use_gpu false)'
    }
    if (!device) {
        return 'not known: CHECK_DEVICE failed'
    }
    return device.gpu ?: device.requested ? "CPU: a GPU was requested, but none is visible (${device.reason})".toString() : 'CPU: no GPU on this machine'
}

def reportDevice(device, use_gpu, engine) {
    // A run that ends with an error kills CHECK_DEVICE.
    if (!use_gpu || nextflow.Global.session.aborted) {
        return null
    }
    if (!device) {
        log.warn(failedCheck())
    }
    else if (device.requested && !device.gpu) {
        log.warn(invisibleGpu(device, engine))
    }
    else {
        log.info(device.gpu ? "GPU: ${device.gpu}" : 'No GPU on this machine: TRAIN_VAE and ALIGN run on the CPU.')
    }
}

def failedCheck() {
    return [
        'CHECK_DEVICE failed. It requests a GPU as TRAIN_VAE and ALIGN do: they will probably fail in the same way.',
        '  The reason is above and in .nextflow.log.',
        '  --use_gpu false runs everything on the CPU; -resume keeps finished tasks.',
    ].join('\n')
}

def invisibleGpu(device, engine) {
    return [
        "A GPU was requested, but torch finds none on ${device.node} (executor ${device.executor}): ${device.reason}.",
        '  TRAIN_VAE and ALIGN run on the CPU there: the run continues, but slower.',
        '  Run nvidia-smi on that machine. If it shows no GPU, the machine has none, or its driver is missing.',
        gpuCure(device.executor, engine),
        '  --use_gpu false keeps these tasks off GPU machines.',
    ].findAll { line -> line }.join('\n')
}

def gpuCure(executor, engine) {
    def scheduler = [
        slurm: "  Does --gpu_queue name a partition whose nodes have GPUs (sinfo -o '%P %G'), and does `srun --gres=gpu:1 nvidia-smi` show one?",
        awsbatch: '  Does --gpu_queue use a compute environment of GPU instances, such as g4dn, g5 or g6, with the GPU image of AWS?',
        'google-batch': '  Do --gpu_type and --gpu_machine_type match (nvidia-tesla-t4 and n1-standard-4; nvidia-l4 and g2-standard-4)?',
    ][executor]
    def container = [
        docker: '  Docker needs the NVIDIA Container Toolkit: docker run --rm --gpus all IMAGE nvidia-smi',
        podman: '  Podman needs the NVIDIA Container Toolkit and its CDI file: nvidia-ctk cdi list',
        charliecloud: '  Charliecloud gives a container no GPU by itself: ch-fromhost --nvidia puts the driver into the image.',
    ][engine]
    return [scheduler, container].findAll { line -> line }.join('\n')
}
