"""Which files Terraform gets: links, templates and modules within the repository, and nothing else."""

from tests.e2e.sandbox import RESOURCE, Sandbox, environment

MODULE = 'resource "terraform_data" "m" { input = "from the module" }\noutput "id" { value = terraform_data.m.id }\n'


def test_a_module_behind_a_symlink_works_and_is_an_input(sandbox: Sandbox) -> None:
    sandbox.write({"shared/thing/main.tf": MODULE, "dev/main.tf": 'module "m" { source = "./linked" }\n'})
    (sandbox.clone / "dev/linked").symlink_to("../shared/thing")
    sandbox.stacks(environment("dev"), {})
    sandbox.sync(expect=0)
    assert sandbox.resources().keys() == {"module.m.terraform_data.m"}
    sandbox.commit({"shared/thing/main.tf": MODULE.replace("from", "again from")})
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_a_linked_file_is_an_input(sandbox: Sandbox) -> None:
    sandbox.write({"shared/common.tf": RESOURCE, "dev/main.tf": "# only a link beside it\n"})
    (sandbox.clone / "dev/common.tf").symlink_to("../shared/common.tf")
    sandbox.stacks(environment("dev"), {})
    sandbox.sync(expect=0)
    assert sandbox.resources().keys() == {"terraform_data.a"}
    sandbox.commit({"shared/common.tf": RESOURCE.replace("one", "two")})
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_files_that_functions_read_are_there_and_are_inputs(sandbox: Sandbox) -> None:
    sandbox.one_stack(
        'resource "terraform_data" "a" {\n  input = {\n'
        '    plain = file("${path.module}/files/plain.txt")\n'
        '    upward = file("../shared/upward.txt")\n'
        '    template = templatefile("${path.module}/files/greeting.tftpl", { name = "you" })\n'
        '    set = join(",", fileset("${path.module}/files", "*.txt"))\n'
        "  }\n}\n"
    )
    files = {
        "dev/files/plain.txt": "plain words",
        "shared/upward.txt": "from above",
        "dev/files/greeting.tftpl": "hello ${name}",
        "unrelated/words.txt": "never read",
    }
    sandbox.commit(files)
    sandbox.sync(expect=0)
    value = sandbox.state()["resources"][0]["instances"][0]["attributes"]["input"]["value"]
    assert value == {"plain": "plain words", "upward": "from above", "template": "hello you", "set": "plain.txt"}
    for name, text in files.items():
        sandbox.commit({name: text + "!"})
        expected = "converged" if name.startswith("unrelated") else "applied"
        result = sandbox.sync(expect=0)
        assert result.outcomes == {"dev": expected}, name
        assert (result["dev"]["terraform_runs"] == 0) == (expected == "converged")


def test_var_files_are_inputs_and_auto_ones_too(sandbox: Sandbox) -> None:
    code = 'variable "a" {}\nvariable "b" {}\nresource "terraform_data" "a" { input = "${var.a} ${var.b}" }\n'
    sandbox.stacks(
        environment("dev", var_files='["../vars/dev.tfvars"]'),
        {"dev/main.tf": code, "vars/dev.tfvars": 'a = "A"\n', "dev/x.auto.tfvars": 'b = "B"\n'},
    )
    sandbox.sync(expect=0)
    for name, text in {"vars/dev.tfvars": 'a = "AA"\n', "dev/x.auto.tfvars": 'b = "BB"\n'}.items():
        sandbox.commit({name: text})
        assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}, name
    assert sandbox.state()["resources"][0]["instances"][0]["attributes"]["input"]["value"] == "AA BB"


def test_a_root_inside_another_root_is_a_stack_of_its_own(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("prod", roots='["prod/**"]'), {"prod/outer/main.tf": RESOURCE, "prod/outer/inner/main.tf": RESOURCE}
    )
    assert sandbox.sync(expect=0).outcomes == {"prod/outer": "applied", "prod/outer/inner": "applied"}
    sandbox.commit({"prod/outer/inner/main.tf": RESOURCE.replace("one", "two")})
    assert sandbox.sync(expect=0).outcomes == {"prod/outer": "converged", "prod/outer/inner": "applied"}


def test_the_root_of_the_repository_may_be_a_root_module(sandbox: Sandbox) -> None:
    sandbox.stacks(environment("all", roots='["."]'), {"main.tf": RESOURCE})
    assert sandbox.sync(expect=0).outcomes == {"all": "applied"}
    assert sandbox.sync(expect=0).runs == {"all": 0}


def test_what_a_revision_brings_in_dot_terraform_is_not_used(sandbox: Sandbox) -> None:
    sandbox.one_stack()
    sandbox.write({"dev/.terraform/environment": "elsewhere", "dev/.terraform/terraform.tfstate": "{}"})
    sandbox.git("add", "-f", "dev/.terraform")
    sandbox.commit()
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}
    assert sandbox.state_file().exists()


def test_json_code_and_odd_file_names_work(sandbox: Sandbox) -> None:
    sandbox.stacks(
        environment("dev", roots='["dév ünd mehr"]'),
        {
            "dév ünd mehr/main.tf.json": '{"resource": {"terraform_data": {"a": {"input": "one"}}}}',
            "x\ty": "tab",
            'z"q': "",
        },
    )
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}


def test_an_executable_script_stays_executable(sandbox: Sandbox) -> None:
    sandbox.write({"dev/run.sh": "#!/bin/sh\nexit 0\n"})
    (sandbox.clone / "dev/run.sh").chmod(0o755)
    sandbox.one_stack(
        'resource "terraform_data" "a" {\n  provisioner "local-exec" { command = "${path.module}/run.sh" }\n}\n'
    )
    assert sandbox.sync(expect=0).outcomes == {"dev": "applied"}
